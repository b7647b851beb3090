"""pyinstrument's totals are pyinstrument's own; a sleep is waiting; the clock can be the CPU's."""

from __future__ import annotations

import sys
from array import array
from ast import literal_eval
from dataclasses import replace
from marshal import loads
from pathlib import Path
from types import SimpleNamespace

import pytest

from proftool.backends.inside import pyinstrument_sampler
from proftool.backends.pyinstrument import RECORDER, SAMPLER, backend
from proftool.contracts import Clock, Interpreter, Mode, Program, Recording, RecordOptions, Unavailable
from proftool.errors import BackendUnavailable
from proftool.launch.start import launch
from proftool.model.check import checked
from proftool.model.profile import Profile

BURN = """
import time
def burn(s, clock=time.perf_counter):
    end = clock() + s
    while clock() < end: sum(range(200))
"""


def record(folder: Path, code: str, **options: object) -> Recording:
    asked = RecordOptions(mode=Mode.SAMPLE, **options)  # type: ignore[arg-type]
    program = Program(python=Path(sys.executable), code=BURN + code)
    return launch(program, backend.command(program, asked, folder), asked, folder)


def total(profile: Profile, metric: str, name: str | None = None) -> int:
    """Of the whole profile, or of everything below a function."""
    cells, found = profile.cells, 0
    for node, value in zip(
        cells.node[cells.metric == profile.metric_index(metric)], cells.value[cells.metric == profile.metric_index(metric)], strict=True
    ):
        while node >= 0 and name is not None:
            if profile.text(int(profile.functions.qualname[profile.frames.function[profile.nodes.frame[node]]])) == name:
                break
            node = profile.nodes.parent[node]
        found += int(value) if node >= 0 else 0
    return found


def test_totals_are_those_of_pyinstrument(tmp_path: Path) -> None:
    """The same samples as a pyinstrument session give the same time."""
    from pyinstrument.session import Session

    recording = record(tmp_path, "burn(0.3)")
    profile = checked(backend.read(recording))
    part = loads(recording.processes[0].parts[0].read_bytes())
    records = []
    for thread in part["threads"]:
        for stack, wall_ns in zip(array("q", thread["stacks"]), array("q", thread["wall_ns"]), strict=True):
            frames = [text for f in part["stacks"][stack] if (text := part["frames"][f]).split("\0")[1] not in part["own"]]
            # A stack without a frame is the recording's end: its own, and as long as a busy machine makes it.
            if frames:
                records.append((["MainThread\0<thread>\x001", *frames], wall_ns / 1e9))
    session = Session(records, 0.0, 1.0, 0.001, 0.001, len(records), [], "", 0.0, [], [])
    root = session.root_frame(trim_stem=False)
    assert root is not None
    assert total(profile, "wall_time") == pytest.approx(root.time * 1e9, rel=1e-6)
    assert total(profile, "samples") == len(records)


def test_a_sleep_is_waiting_and_work_is_not(tmp_path: Path) -> None:
    """Waiting time is the sleep's, wall time is both, CPU time is the work's."""
    profile = checked(backend.read(record(tmp_path, "def nap(): time.sleep(0.6)\nnap()\nburn(0.3, time.thread_time)")))
    assert total(profile, "waiting_time", "nap") >= 0.55e9
    assert total(profile, "waiting_time", "burn") < 0.5 * total(profile, "wall_time", "burn")
    assert 0.2e9 <= total(profile, "cpu_time", "burn") <= 0.4e9


def test_a_thread_that_is_sampled_at_its_end_stays_gone(tmp_path: Path) -> None:
    """`threading` lets go of a thread before its last calls; a sample of those brings no dummy of it into `threading.enumerate()`."""
    code = """
import threading
def ends():
    me = threading._active.pop(threading.get_ident())
    burn(0.2)
    print("known:", threading.get_ident() in threading._active, flush=True)
    threading._active[threading.get_ident()] = me
thread = threading.Thread(target=ends)
thread.start()
thread.join()
"""
    with open(tmp_path / "out", "w+b") as out:
        program = Program(python=Path(sys.executable), code=BURN + code)
        options = RecordOptions(mode=Mode.SAMPLE)
        recording = launch(program, backend.command(program, options, tmp_path), options, tmp_path, stdout=out.fileno())
    assert total(checked(backend.read(recording)), "wall_time", "ends") > 0.1e9
    assert (tmp_path / "out").read_text() == "known: False\n"


ALARMED = """
import os, signal, sys, traceback
class Late(Exception): pass
def late(*_): raise Late
signal.signal(signal.SIGALRM, HANDLER)
hits, told, end = 0, set(), time.monotonic() + 100
while hits < 20 and time.monotonic() < end:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.002)
        while True: sum(range(1000))
    except ERROR:
        text = traceback.format_exc()
    told.update(line.strip() for line in text.splitlines() if line.startswith("  File"))
def after(): burn(0.5, time.thread_time)
after()
open(OUT, "w").write(repr((hits, sys.getprofile() is None, [line for line in told if "<string>" not in line])))
"""
"""Has a signal's handler raise until that was in the middle of a sample twenty times."""


@pytest.mark.parametrize(("handler", "error"), [("late", "Late"), ("signal.default_int_handler", "KeyboardInterrupt")])
def test_an_exception_of_a_signals_handler_in_a_sample_ends_nothing(tmp_path: Path, handler: str, error: str) -> None:
    """It reaches the program, with the program's own frames alone; the recording goes on, no sample is half kept, nobody is accused."""
    out, counting, folder = tmp_path / "out", tmp_path / "sampler.py", tmp_path / "folder"
    folder.mkdir()
    counts = '_without_own_frames(sys.exc_info()[1])\n            sys.modules["__main__"].hits += 1\n'
    counting.write_text(SAMPLER.read_text().replace("_without_own_frames(sys.exc_info()[1])\n", counts))
    code = ALARMED.replace("HANDLER", handler).replace("ERROR", error).replace("OUT", repr(str(out)))
    asked, program = RecordOptions(mode=Mode.SAMPLE, rate_hz=10000.0), Program(python=Path(sys.executable), code=BURN + code)
    command = backend.command(program, asked, folder)
    recording = launch(program, replace(command, options={**command.options, "sampler": str(counting)}), asked, folder)
    assert literal_eval(out.read_text()) == (20, False, [])
    part = loads(recording.processes[0].parts[0].read_bytes())
    assert len({len(part["threads"][0][name]) for name in ("stacks", "wall_ns", "cpu_ns", "queued_ns", "tasks")}) == 1
    assert _sums(part)[1] <= part["duration_ns"]
    profile = checked(backend.read(recording))
    assert total(profile, "wall_time", "after") > 0.4e9
    assert not [note for note in profile.meta.passes[0].notes if "profile function" in note or "exception" in note]


def test_a_python_that_cannot_go_on_says_so(tmp_path: Path) -> None:
    """Built without `_ctypes`: the recording ends where the first such exception comes, and the program is not blamed."""
    sampler = tmp_path / "sampler.py"
    sampler.write_text(SAMPLER.read_text().replace("import _ctypes ", "import _no_ctypes "))
    folder = tmp_path / "folder"
    folder.mkdir()
    code = ALARMED.replace("HANDLER", "late").replace("ERROR", "Late").replace("hits < 20", "sys.getprofile()").replace("OUT", "os.devnull")
    asked, program = RecordOptions(mode=Mode.SAMPLE, rate_hz=10000.0), Program(python=Path(sys.executable), code=BURN + code)
    command = backend.command(program, asked, folder)
    recording = launch(program, replace(command, options={**command.options, "sampler": str(sampler)}), asked, folder)
    notes = backend.read(recording).meta.passes[0].notes
    assert any("an exception came while a sample was taken (ModuleNotFoundError" in note for note in notes)
    assert not [note for note in notes if "profile function" in note]


def test_the_cpu_clock(tmp_path: Path) -> None:
    """A sleep costs no CPU time, so it is not there."""
    profile = checked(backend.read(record(tmp_path, "def nap(): time.sleep(0.5)\nnap()\nburn(0.3, time.thread_time)", clock=Clock.CPU)))
    assert [metric.name for metric in profile.metrics] == ["cpu_time", "samples"]
    assert total(profile, "cpu_time", "nap") < 0.05e9
    assert 0.2e9 <= total(profile, "cpu_time", "burn") <= 0.4e9
    assert profile.meta.passes[0].clock == "cpu"


def test_the_kernel_is_asked_for_the_cpu_clock_only_where_a_sample_may_be_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system call at each call and return multiplied the time of a program; samples are due at the same moments without it."""
    wall_s, busy, asked = 0.0, 0.5, list[float]()

    def thread_time() -> float:
        asked.append(wall_s)
        return wall_s * busy

    monkeypatch.setattr(pyinstrument_sampler, "time", SimpleNamespace(thread_time=thread_time, perf_counter=lambda: wall_s))
    clock = pyinstrument_sampler.thread_clock(0.001)
    last_s, due = clock(), list[float]()
    for event in range(1, 100_000):
        wall_s = event * 1e-6
        if (now_s := clock()) >= last_s + 0.001:
            last_s = now_s
            due.append(wall_s)
    assert len(asked) < 1500
    assert due == pytest.approx([0.002 * (at + 1) for at in range(49)], abs=5e-5)


def test_an_interpreter_that_it_was_not_built_for() -> None:
    """Status 3 with a fix, before anything is started."""
    available = backend.availability(Interpreter(executable=Path("/usr/bin/python3.8"), version=(3, 8, 1)))
    assert isinstance(available, Unavailable)
    assert "pip install pyinstrument" in available.fix


def test_native_frames_are_refused(tmp_path: Path) -> None:
    """Never ignored."""
    with pytest.raises(BackendUnavailable):
        record(tmp_path, "", native=True)


def test_time_in_line_beyond_a_sample_is_that_of_the_next() -> None:
    """What was told while the sampler worked is not lost, and no sample holds more than it has room for."""
    import numpy as np

    from proftool.backends.reading.pyinstrument import _fitted  # pyright: ignore[reportPrivateUsage]

    assert _fitted(np.array([0, 50, 0, 5]), np.array([1, 2, 45, 9])).tolist() == [0, 2, 45, 8]
    assert _fitted(np.array([1, 2]), np.array([1, 2])).tolist() == [1, 2]


def test_a_stack_that_is_dear_to_sample_lowers_the_rate(tmp_path: Path) -> None:
    """Of the thread whose stack it is, and the run says so; time is still told whole."""
    text = (
        "import sys, time\nsys.setrecursionlimit(3000)\ndef down(n):\n    if n: return down(n - 1)\n"
        "    end = time.perf_counter() + 2\n    while time.perf_counter() < end: sum(range(200))\ndown(900)\n"
    )
    profile = backend.read(record(tmp_path, text, overhead_budget=0.001))
    one = profile.meta.passes[0]
    assert one.rate_kept_hz is not None
    assert one.rate_kept_hz < 500
    assert any("beyond the overhead budget" in note for note in one.notes)
    assert total(profile, "wall_time") > 1.8e9


def test_asyncio_tasks_are_lanes(tmp_path: Path) -> None:
    """By their name, or their coroutine's where nobody named them; the loop's own time is the thread's, and what is not seen is said."""
    text = (
        "import asyncio\nasync def fetch(n):\n    await asyncio.sleep(0.1)\n    burn(0.1, time.thread_time)\n"
        "async def main():\n    task = asyncio.create_task(fetch(0), name='refresher')\n"
        "    await asyncio.gather(fetch(1), fetch(2), fetch(3))\n    await task\nasyncio.run(main())\n"
    )
    profile = checked(backend.read(record(tmp_path, text)))
    names = [profile.text(int(name)) for name in profile.lanes.task]
    assert {"", "refresher", "fetch"} <= set(names)
    assert len(names) == len(set(names))
    metric = profile.metric_index("cpu_time")  # processor time, for both ask for so much of it, however busy the machine is
    own = {
        name: int(profile.cells.value[(profile.cells.lane == lane) & (profile.cells.metric == metric)].sum())
        for lane, name in enumerate(names)
    }
    assert own["fetch"] > 2 * own["refresher"] > 0.1e9
    assert any("await" in sentence for sentence in profile.meta.passes[0].unseen)


def test_a_long_recording_keeps_its_totals_in_bounded_memory(tmp_path: Path) -> None:
    """Only the latest samples stay in the timeline; older ones count in the totals, and the run says so."""
    few = tmp_path / "recorder.py"
    few.write_text(RECORDER.read_text().replace("TIMELINE_MAX = 200_000", "TIMELINE_MAX = 20"))
    asked = RecordOptions(mode=Mode.SAMPLE)
    program = Program(python=Path(sys.executable), code=BURN + "time.sleep(0.2)\nfor _ in range(8): burn(0.1)\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    recording = launch(program, replace(backend.command(program, asked, folder), recorder=few), asked, folder)
    profile = checked(backend.read(recording))
    assert len(profile.samples) <= 20
    assert 0.9e9 < total(profile, "wall_time") <= recording.duration_ns
    assert total(profile, "waiting_time") > 0.15e9
    assert total(profile, "samples") == profile.meta.passes[0].samples > 20
    assert any("earlier ones count in the totals alone" in note for note in profile.meta.passes[0].notes)


LOOKED_AT = """
import pathlib
folder = pathlib.Path({folder!r})
kept = 0
while kept < 3:
    (folder / "watched").touch()
    burn(0.02)
    for so_far in folder.glob("*.so-far"):
        kept += 1
        so_far.rename(folder / ("kept-%d" % kept))
burn(0.1)
"""
"""Looks at its own recording, and keeps what it finds."""


@pytest.mark.parametrize("timeline", [200_000, 50])
def test_what_is_told_so_far_is_the_beginning_of_the_part(tmp_path: Path, timeline: int) -> None:
    """Sample for sample, each time more, also where old samples count in the totals alone; the part at the end is as if nobody looked."""
    few, folder = tmp_path / "recorder.py", tmp_path / "folder"
    few.write_text(RECORDER.read_text().replace("TIMELINE_MAX = 200_000", f"TIMELINE_MAX = {timeline}"))
    folder.mkdir()
    asked, program = RecordOptions(mode=Mode.SAMPLE), Program(python=Path(sys.executable), code=BURN + LOOKED_AT.format(folder=str(folder)))
    recording = launch(program, replace(backend.command(program, asked, folder), recorder=few), asked, folder)
    ((part,),) = [process.parts for process in recording.processes]
    whole = loads(part.read_bytes())
    told = [loads((folder / f"kept-{n}").read_bytes()) for n in (1, 2, 3)]
    for name in ("frames", "stacks"):
        assert all(one[name] == whole[name][: len(one[name])] for one in told)
    seen = [_sums(one) for one in [*told, whole]]
    assert [n for n, _ in seen] == sorted({n for n, _ in seen})
    assert seen[-1][1] <= whole["duration_ns"]
    if timeline > seen[-1][0]:
        for column in ("stacks", "wall_ns", "cpu_ns", "queued_ns", "tasks"):
            assert all(whole["threads"][0][column].startswith(one["threads"][0][column]) for one in told)
    profile = checked(backend.read(recording))
    assert total(profile, "wall_time") <= seen[-1][1]
    assert total(profile, "wall_time", "burn") > 0.1e9
    assert not list(folder.glob("*.so-far*"))


def _sums(part: dict) -> tuple[int, int]:
    """Samples and wall time of a part."""
    columns = [array("q", thread["wall_ns"]) for thread in part["threads"]]
    folded = [row for thread in part["threads"] for row in thread["folded"]]
    return sum(map(len, columns)) + sum(row[4] for row in folded), sum(map(sum, columns)) + sum(row[5] for row in folded)


def test_nobody_looks_and_nothing_is_written(tmp_path: Path) -> None:
    """A recording of more than a second, which is when it would be."""
    seen = tmp_path / "seen"
    record(tmp_path, f"burn(1.5)\nimport os\nopen({str(seen)!r}, 'w').write(' '.join(os.listdir({str(tmp_path)!r})))")
    assert "process-" in seen.read_text()
    assert "so-far" not in seen.read_text()


def test_a_disk_without_room_harms_nothing_but_what_is_told_so_far(tmp_path: Path) -> None:
    """The program goes on, half a file stands nowhere, and the recording is whole."""
    code = (
        "import os, pathlib, resource\nfolder = pathlib.Path(FOLDER)\nlimits = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))\n"
        # Three seconds of looks: at least twice it was tried.
        "for _ in range(60):\n    (folder / 'watched').touch()\n    burn(0.05)\n    assert not list(folder.glob('*.so-far'))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, limits)\n"
    ).replace("FOLDER", repr(str(tmp_path)))
    recording = record(tmp_path, code)
    assert recording.exit_status == 0
    assert recording.processes[0].complete
    assert total(checked(backend.read(recording)), "wall_time", "burn") > 2e9
    assert not list(tmp_path.glob("*.so-far*"))


def test_time_that_telling_takes_is_nobodys(tmp_path: Path) -> None:
    """Neither the wall's nor the processor's: as long as it took, the next sample is shorter, and it counts as overhead."""
    slow, folder = tmp_path / "recorder.py", tmp_path / "folder"
    # As if the disk were slow, and the profile large.
    burns = (
        "end = time.thread_time() + 0.5\n            while time.thread_time() < end:\n                pass\n            data = memoryview("
    )
    text = RECORDER.read_text().replace("data = memoryview(", burns)
    assert burns in text
    slow.write_text(text)
    folder.mkdir()
    code = LOOKED_AT.replace("kept < 3", "kept < 1").format(folder=str(folder))
    asked, program = RecordOptions(mode=Mode.SAMPLE, rate_hz=100), Program(python=Path(sys.executable), code=BURN + code)
    recording = launch(program, replace(backend.command(program, asked, folder), recorder=slow), asked, folder)
    whole = loads(recording.processes[0].parts[0].read_bytes())
    assert (folder / "kept-1").exists()
    assert _sums(whole)[1] <= whole["duration_ns"] - 0.5e9
    assert sum(array("q", whole["threads"][0]["cpu_ns"])) <= whole["duration_ns"] - 0.5e9
    assert whole["overhead_ns"] >= 0.5e9
    assert not whole["lowered"]
