"""py-spy on programs with known answers."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from proftool.backends.pyspy import PART, backend
from proftool.contracts import Mode, Program, Recording, RecordOptions
from proftool.errors import BackendFailed
from proftool.launch.start import launch
from proftool.model.profile import Profile
from proftool.model.tree import function_total, metric_total

OPTIONS = RecordOptions(mode=Mode.SAMPLE)
BURN = (
    "import os, sys, threading, time\ndef burn(s):\n    end = time.thread_time() + s\n    while time.thread_time() < end: sum(range(200))\n"
)


def recorded(tmp_path: Path, text: str, options: RecordOptions = OPTIONS) -> tuple[Recording, Profile]:
    """The program under py-spy."""
    script, folder = tmp_path / "program.py", tmp_path / "folder"
    script.write_text(BURN + text)
    folder.mkdir()
    program = Program(python=Path(sys.executable), script=str(script))
    recording = launch(program, backend.command(program, options, folder), options, folder)
    return recording, backend.read(recording)


def total(profile: Profile, metric: str, name: str) -> int:
    """Total of the functions of that qualified name."""
    values = function_total(profile, profile.metric_index(metric))
    return sum(int(values[i]) for i in range(len(values)) if profile.text(int(profile.functions.qualname[i])) == name)


def names(profile: Profile) -> set[str]:
    """Qualified names of all functions."""
    return {profile.text(int(name)) for name in profile.functions.qualname}


def test_every_sample_of_the_file_counts(tmp_path: Path) -> None:
    """The number of samples is py-spy's own, but for those of the bootstrap; labels of threads and processes are lanes, not frames."""
    whole = replace(OPTIONS, overhead_budget=1.0)  # in one file: on a busy machine the rate would be lowered, and that begins another
    recording, profile = recorded(tmp_path, "burn(0.5)\n", whole)
    told = json.loads((recording.folder / PART).read_text())
    n_own = sum(1 for thread in told["profiles"] for stack in thread["samples"] if stack)
    counted = metric_total(profile, profile.metric_index("samples"))
    assert 0 < counted <= n_own
    assert counted >= 0.8 * n_own
    assert not any(name.startswith(("process ", "thread (")) for name in names(profile))


def test_threads_have_their_names(tmp_path: Path) -> None:
    """Also those that began after py-spy's last look at Python's list of threads."""
    text = "ts = [threading.Thread(target=burn, args=(0.2,), name=f'spinner-{n}') for n in range(8)]\n"
    _, profile = recorded(tmp_path, text + "[t.start() for t in ts]; [t.join() for t in ts]\n")
    assert {f"spinner-{n}" for n in range(8)} <= {profile.text(int(name)) for name in profile.lanes.thread_name}


def test_namesakes_stay_apart(tmp_path: Path) -> None:
    """Methods of one name, nested functions and lambdas have their qualified names."""
    text = (
        "class First:\n    def run(self): burn(0.3)\nclass Second(First):\n    def run(self): burn(0.2)\n"
        "def outer():\n    def inner(): burn(0.2)\n    inner()\nFirst().run(); Second().run(); outer()\n"
    )
    _, profile = recorded(tmp_path, text)
    assert {"First.run", "Second.run", "outer.<locals>.inner"} <= names(profile)


def test_an_inherited_method_belongs_to_the_class_that_defines_it(tmp_path: Path) -> None:
    """py-spy names the class of `self`."""
    _, profile = recorded(tmp_path, "class Base:\n    def run(self): burn(0.4)\nclass Derived(Base): pass\nDerived().run()\n")
    assert "Base.run" in names(profile)
    assert "Derived.run" not in names(profile)


def test_waiting_is_told_from_work(tmp_path: Path) -> None:
    """A sleep and a lock wait; a loop does not."""
    text = (
        "lock = threading.Lock(); lock.acquire()\ndef nap(): time.sleep(1.6)\ndef block():\n    with lock: pass\n"
        "def work(): burn(1.6)\nthreading.Timer(1.6, lock.release).start()\nblock(); nap(); work()\n"
    )
    # A look stops the thread, and on a busy machine it lies down again only when it gets a processor: 40 ms are enough for that.
    _, profile = recorded(tmp_path, text, replace(OPTIONS, rate_hz=25.0))
    for name in ("nap", "block"):
        assert total(profile, "waiting_time", name) > 0.8 * total(profile, "wall_time", name) > 0
    assert total(profile, "waiting_time", "work") < 0.2 * total(profile, "wall_time", "work")


def test_a_child_is_a_lane_of_its_own(tmp_path: Path) -> None:
    """With its parent's PID."""
    recording, profile = recorded(tmp_path, "pid = os.fork()\nburn(0.4)\nos.waitpid(pid, 0) if pid else os._exit(0)\n")
    first = recording.processes[0].pid
    pids = set(profile.lanes.pid.tolist())
    assert len(pids) == 2
    (child,) = pids - {first}
    assert set(profile.lanes.ppid[profile.lanes.pid == child].tolist()) == {first}


def test_it_is_known_when_samples_were_taken(tmp_path: Path) -> None:
    """py-spy reads a file for each thread of each sample, and the kernel counts them: if that ever changes, this tells."""
    _, profile = recorded(tmp_path, "burn(0.7)\n")
    assert profile.meta.passes[0].weighed_by_time


def test_threads_that_come_and_go_are_a_lane_each(tmp_path: Path) -> None:
    """Also where py-spy finds a thread's name late, or is attached anew at a lower rate while it runs."""
    text = (
        "if sys.argv[1:]: burn(0.5); sys.exit()\n"
        "import subprocess\nchild = subprocess.Popen([sys.executable, __file__, 'child'])\nburn(0.2)\n"
        "ts = [threading.Thread(target=burn, args=(0.3,)) for _ in range(3)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]\nchild.wait()\n"
    )
    _, profile = recorded(tmp_path, text)
    assert len(set(profile.lanes.pid.tolist())) == 2
    assert len(profile.lanes.pid) == 5


def test_tasks_that_are_not_told_apart_are_admitted(tmp_path: Path) -> None:
    """Where the program ran an event loop, and only there."""
    _, profile = recorded(tmp_path, "import asyncio\nasync def main(): burn(0.3)\nasyncio.run(main())\n")
    assert any("tasks are not told apart" in sentence for sentence in profile.meta.passes[0].unseen)


def test_cpu_time_is_the_kernels_where_work_and_waits_take_turns(tmp_path: Path) -> None:
    """What the program itself reads off its clock, and the work's: not less where half of the samples fall into short waits."""
    text = (
        # Before and after it stands still for many looks at the clocks: what ran before the first and after the last is not known.
        "def turn(): burn(0.03)\ntime.sleep(0.5)\nbegan = time.process_time()\nfor _ in range(40):\n    turn()\n    time.sleep(0.03)\n"
        "with open(sys.argv[0] + '.took', 'w') as file: file.write(f'{time.process_time() - began} {time.process_time()}')\n"
        "time.sleep(0.5)\n"
    )
    _, profile = recorded(tmp_path, text)
    took_ns, whole_ns = (float(word) * 1e9 for word in (tmp_path / "program.py.took").read_text().split())
    cpu_ns = metric_total(profile, profile.metric_index("cpu_time"))
    assert 0.95 * took_ns < cpu_ns < 1.5 * whole_ns  # the interpreter's start is the recording's too, and its end, which nobody told
    assert total(profile, "cpu_time", "burn") > 0.75 * took_ns


@pytest.mark.parametrize(
    ("said", "quoted"), [("py-spy> Visit https://www.speedscope.app/ to view\n", False), ("Error: no\n  6: main\n", True)]
)
def test_only_an_error_of_py_spys_is_a_cause(tmp_path: Path, said: str, quoted: bool) -> None:
    """What it says to every user is none, nor is the end of its backtrace."""
    program = Program(python=Path(sys.executable), code="1+1")
    recording = Recording(
        folder=tmp_path,
        target=program,
        options=OPTIONS,
        processes=(),
        exit_status=0,
        started_ns=0,
        duration_ns=1,
        cpu_ns=None,
        profiler_stderr=said,
    )
    with pytest.raises(BackendFailed) as caught:
        backend.read(recording)
    assert ("py-spy said: Error: no" in caught.value.cause) == quoted
    assert ("py-spy said" in caught.value.cause) == quoted
