"""Several processes are one service: sums are exact, outlive kills, and never go back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from proftool.telemetry import workers
from proftool.telemetry.points import Sample

WORKER = """
import os, sys, time
from proftool.telemetry import setup, counter, gauge, histogram, updown
setup("test", directory=sys.argv[1], runtime=False)
count, times, level, active = counter("c"), histogram("h", buckets=(1.0,)), gauge("g", combine="each"), updown("u")
level.set(os.getpid()); active.add(1)
for n in range(int(sys.argv[2])):
    count.add(1, parity=n % 2); times.record(n % 2 + 0.5)
    if n % 500 == 0:
        print(n, flush=True)
print("done", flush=True)
sys.stdin.read()
"""

LEAVING = """
import sys, time
from pathlib import Path
from proftool.telemetry import setup, counter
from proftool.telemetry.service import subscribe
folder, mine, other = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
setup("test", directory=folder, runtime=False)
def told(samples, time_ns):
    print(int(sum(s.value for s in samples if s.description.name == "c")), flush=True)
    mine.touch()
    time.sleep(1)
subscribe(told, every_s=3600)
counter("c").add(1)
if sys.argv[4] == "waits":
    print("ready", flush=True)
    while not other.exists():
        time.sleep(0.01)
    counter("c").add(1)
"""

FORKING = """
import os, sys
from proftool.telemetry import setup, counter
setup("test", directory=sys.argv[1], runtime=False)
count = counter("c")
count.add(10)
for _ in range(4):
    if os.fork() == 0:
        for _ in range(100):
            count.add(1)
        os._exit(0)
for _ in range(4):
    os.wait()
count.add(1)
from proftool.telemetry.service import samples
print(next(s.value for s in samples() if s.description.name == "c"))
"""


def start(folder: Path, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(folder), str(count)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def values(folder: Path, name: str) -> list[Sample]:
    return [sample for sample in workers.read(folder) if sample.description.name == name]


def total(folder: Path) -> float:
    return sum(sample.value for sample in values(folder, "c"))


def end(process: subprocess.Popen[str]) -> None:
    process.communicate()


def test_workers_add_up_alive_and_dead(tmp_path: Path) -> None:
    """Three workers, one killed, one ended in order: their counts stay, their gauges and open requests go."""
    started = [start(tmp_path, 3000) for _ in range(3)]
    for process in started:
        assert process.stdout
        while process.stdout.readline() != "done\n":
            pass
    assert total(tmp_path) == 9000
    assert sorted(sample.value for sample in values(tmp_path, "g")) == sorted(process.pid for process in started)
    assert values(tmp_path, "u")[0].value == 3
    started[0].send_signal(signal.SIGKILL)
    started[0].wait()
    end(started[1])
    assert total(tmp_path) == 9000
    (times,) = values(tmp_path, "h")
    assert times.counts == (4500, 4500)
    assert [sample.value for sample in values(tmp_path, "g")] == [started[2].pid]
    assert values(tmp_path, "u")[0].value == 1
    assert len([name for name in os.listdir(tmp_path) if name.endswith(workers.SUFFIX)]) == 1, "files of the dead are gone"
    end(started[2])
    started[0].communicate()
    assert total(tmp_path) == 9000


def test_kills_take_nothing_back(tmp_path: Path) -> None:
    """Workers are killed at random moments while a reader looks on: the sum never falls, and holds all that was seen before."""
    seen: list[float] = []
    least = 0
    for _ in range(6):
        pair = [start(tmp_path, 1_000_000) for _ in range(2)]
        for process in pair:
            assert process.stdout
            for _ in range(8):
                reached = int(process.stdout.readline())
                seen.append(total(tmp_path))
            least += reached
        for process in pair:
            process.send_signal(signal.SIGKILL)
            seen.append(total(tmp_path))
        for process in pair:
            process.communicate()
            seen.append(total(tmp_path))
    assert seen == sorted(seen)
    assert seen[-1] >= least
    (times,) = values(tmp_path, "h")
    # A kill may fall between the two records of one turn, and between no others.
    assert 0 <= seen[-1] - times.count <= 12


def test_a_kill_while_folding_counts_nothing_twice(tmp_path: Path) -> None:
    """The sums were written and the dead one's file was not removed yet: it is not read again."""
    process = start(tmp_path, 1000)
    assert process.stdout
    while process.stdout.readline() != "done\n":
        pass
    process.kill()
    process.communicate()
    (name,) = [name for name in os.listdir(tmp_path) if name.endswith(workers.SUFFIX)]
    content = (tmp_path / name).read_bytes()
    assert total(tmp_path) == 1000
    (tmp_path / name).write_bytes(content)
    assert total(tmp_path) == 1000
    assert total(tmp_path) == 1000


def test_forked_children_are_counted_once(tmp_path: Path) -> None:
    """The parent's 11 and four times 100, read by the parent when the children are gone."""
    done = subprocess.run([sys.executable, "-c", FORKING, str(tmp_path)], capture_output=True, text=True, check=True)
    assert float(done.stdout) == 411
    assert done.stderr == ""


def test_groups_without_a_leader_are_swept(tmp_path: Path) -> None:
    """A folder of a process that is no more is removed, one of a living process and a stranger's stay."""
    own = tmp_path / f"svc-{os.getpid()}-{workers.started(os.getpid())}"
    gone = tmp_path / "svc-4194399-17"
    other = tmp_path / "something"
    for folder in (own, gone, other):
        folder.mkdir()
    workers.sweep(tmp_path.iterdir())
    assert sorted(tmp_path.iterdir()) == sorted([own, other])


def test_reading_does_not_wait_for_who_folds(tmp_path: Path) -> None:
    """A process that stopped with the lock in its hand keeps no scrape waiting."""
    holder = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as held:
        assert held.stdout
        held.stdout.readline()
        begun = time.monotonic()
        assert workers.read(tmp_path) == []
        assert time.monotonic() - begun < 60
        held.communicate()


def test_a_worker_that_ends_while_another_says_its_last_word_is_heard(tmp_path: Path) -> None:
    """What it counted after that word was read would be lost, for the other holds the role until it is gone."""
    command = [sys.executable, "-c", LEAVING, str(tmp_path / "group")]
    late = subprocess.Popen([*command, str(tmp_path / "b"), str(tmp_path / "a"), "waits"], stdout=subprocess.PIPE, text=True)
    assert late.stdout
    assert late.stdout.readline() == "ready\n"
    first = subprocess.run([*command, str(tmp_path / "a"), str(tmp_path / "b"), "ends"], stdout=subprocess.PIPE, text=True, check=True)
    assert first.stdout == "2\n"
    assert late.communicate()[0] == "3\n"


def test_a_folder_that_is_tidied_away_is_made_again(tmp_path: Path) -> None:
    """The keeper goes on, counts are those of before, and listeners are told."""
    program = """
import shutil, sys, threading, time
from pathlib import Path
from proftool.telemetry import counter, service
folder, told, again = Path(sys.argv[1]) / "group", threading.Event(), threading.Event()
counts = []
def listen(samples, _):
    counts.append(sum(sample.value for sample in samples if sample.description.name == "orders"))
    (again if told.is_set() else told).set()
service.setup("shop", directory=folder, runtime=False)
orders = counter("orders")
orders.add(3)
service.subscribe(listen, every_s=0.0)
assert told.wait(60)
shutil.rmtree(folder)
told.set()
orders.add(4)
while not list(folder.glob("*.cells")):
    time.sleep(0.05)
again.clear()
assert again.wait(60)
print(counts[-1])
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=120, check=True)
    assert float(done.stdout) == 7.0
    assert "is made again" in done.stderr
