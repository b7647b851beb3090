"""pyinstrument's totals are pyinstrument's own; a sleep is waiting; the clock can be the CPU's."""

from __future__ import annotations

import sys
from array import array
from dataclasses import replace
from marshal import loads
from pathlib import Path

import pytest

from proftool.backends.pyinstrument import RECORDER, backend
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


def test_the_cpu_clock(tmp_path: Path) -> None:
    """A sleep costs no CPU time, so it is not there."""
    profile = checked(backend.read(record(tmp_path, "def nap(): time.sleep(0.5)\nnap()\nburn(0.3, time.thread_time)", clock=Clock.CPU)))
    assert [metric.name for metric in profile.metrics] == ["cpu_time", "samples"]
    assert total(profile, "cpu_time", "nap") < 0.05e9
    assert 0.2e9 <= total(profile, "cpu_time", "burn") <= 0.4e9
    assert profile.meta.passes[0].clock == "cpu"


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
