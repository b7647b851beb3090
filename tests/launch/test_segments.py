"""Long recordings by an external profiler: bounded segments that make one profile, at a rate that the program can bear."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from proftool.backends import pyspy
from proftool.backends.reading.one_timeline import in_one
from proftool.contracts import Mode, Program, Recording, RecordOptions
from proftool.formats import native
from proftool.launch import clocks, segments
from proftool.launch.segments import Segments
from proftool.launch.start import launch
from proftool.model.builder import ProfileBuilder
from proftool.model.check import checked
from proftool.model.meta import Meta, Pass
from proftool.model.profile import WALL_TIME, Profile
from proftool.model.quality import judge
from proftool.model.tree import metric_total

# However long a busy machine takes to attach, the program is still there.
DEEP = """
import os, sys, time
sys.setrecursionlimit(3000)
def down(n, seconds):
    if n: return down(n - 1, seconds)
    end = time.monotonic() + 120
    while time.monotonic() < end and not os.path.exists({watched!r}): sum(range(100))
    end = time.monotonic() + seconds
    while time.monotonic() < end: sum(range(100))
down({depth}, {seconds})
"""


def recorded(tmp_path: Path, depth: int, seconds: float, budget: float, segment: str = "") -> tuple[Recording, Profile]:
    """The program under py-spy at its default rate; it goes on until that segment is being recorded, and then for some seconds."""
    script, folder = tmp_path / "program.py", tmp_path / "folder"
    script.write_text(DEEP.format(depth=depth, seconds=seconds, watched=str(folder / segment / clocks.FILE)))
    folder.mkdir()
    options = RecordOptions(mode=Mode.SAMPLE, overhead_budget=budget)
    program = Program(python=Path(sys.executable), script=str(script))
    recording = launch(program, pyspy.backend.command(program, options, folder), options, folder)
    return recording, checked(pyspy.backend.read(recording))


def short(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Segments of a second, and the last of them to the end: one that begins as the program ends may have no sample."""
    monkeypatch.setattr(segments, "SEGMENT_S", 1.0)
    full = Segments._is_full
    monkeypatch.setattr(Segments, "_is_full", lambda self: len(self._done) < most - 1 and full(self))


def test_a_stack_that_is_dear_to_read_lowers_the_rate(tmp_path: Path) -> None:
    """The program is kept from running for less of the time, and the run says so in its notes and its quality."""
    recording, profile = recorded(tmp_path, 900, 1, 0.02, "segment-1")
    one = profile.meta.passes[0]
    assert recording.exit_status == 0
    assert [segment.rate_hz for segment in recording.segments] == sorted((s.rate_hz for s in recording.segments), reverse=True)
    assert recording.segments[-1].rate_hz < recording.segments[0].rate_hz == 200
    assert any("beyond the overhead budget of 2 %" in note for note in one.notes)
    assert any("lowered from 200" in reason for reason in judge(profile).reasons)
    assert one.overhead_ns


def test_a_budget_of_everything_lowers_nothing(tmp_path: Path) -> None:
    """The cost is measured and told all the same."""
    recording, profile = recorded(tmp_path, 900, 4, 1.0)
    assert len(recording.segments) == 1
    assert profile.meta.passes[0].rate_kept_hz is None
    assert profile.meta.passes[0].overhead_ns


def test_segments_make_one_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One lane a thread, all the time but for the gaps, which are told; finished segments are condensed while the next is recorded."""
    short(monkeypatch, 3)
    recording, profile = recorded(tmp_path, 3, 2, 1.0, "segment-2")
    assert len(recording.segments) == 3
    assert len(profile.lanes) == 1
    assert any("were not sampled" in note for note in profile.meta.passes[0].notes)
    covered_ns = sum(segment.duration_ns for segment in recording.segments)
    assert metric_total(profile, profile.metric_index("wall_time")) == pytest.approx(covered_ns, rel=0.1)
    assert covered_ns < recording.duration_ns
    assert np.all(np.diff(profile.samples.time_ns) >= 0)
    assert [segment.folder for segment in recording.segments if (segment.folder / pyspy.PART).exists()] == [recording.segments[-1].folder]


def test_a_recording_that_is_cut_short_leaves_all_but_its_last_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a profile in proftool's own format, whole by itself."""
    short(monkeypatch, 2)
    recording, _ = recorded(tmp_path, 3, 0.5, 1.0, "segment-1")
    left = checked(native.format.read(recording.folder / pyspy.CONDENSED))
    last = recording.segments[-2]
    assert left.meta.passes[0].duration_ns == last.begun_ns + last.duration_ns
    assert metric_total(left, left.metric_index("wall_time")) > 0.5e9


def timeline(nodes: list[int], *, begin_s: int, tid: int = 7, name: str = "MainThread") -> Profile:
    """A sample a second of these functions in one thread."""
    builder = ProfileBuilder([WALL_TIME], Meta(passes=(Pass(mode="sample", backend="py-spy", started_ns=5),)))
    lane = builder.lane(pid=1, tid=tid, thread_name=name, is_main=True)
    for at, number in enumerate(nodes):
        node = builder.stack([builder.frame(builder.function(f"f{number}", file="a.py", first_line=number), number)])
        builder.add(node, lane, 0, 10**9)
        builder.sample((begin_s + at) * 10**9, lane, node, 10**9, 1)
    return builder.build()


def test_equal_neighbours_become_one_sample(tmp_path: Path) -> None:
    """With the weight of both, across a segment's border too; totals are the sum."""
    profile = checked(in_one([timeline([1, 1, 2], begin_s=0), timeline([2, 2, 1], begin_s=3)]))
    assert profile.samples.weight.tolist() == [2 * 10**9, 3 * 10**9, 10**9]
    assert len(profile.lanes) == 1
    assert int(profile.cells.value.sum()) == 6 * 10**9


def test_a_thread_whose_name_one_segment_does_not_know_is_one_lane() -> None:
    """py-spy finds names late; a thread that was renamed, and one without a number, are lanes of their own."""
    for names in (("", "worker"), ("worker", "")):
        profile = checked(in_one([timeline([1], begin_s=at, name=name) for at, name in enumerate(names)]))
        assert [profile.text(int(name)) for name in profile.lanes.thread_name] == ["worker"]
    assert len(in_one([timeline([1], begin_s=0, name="idle"), timeline([1], begin_s=1, name="worker")]).lanes) == 2
    assert len(in_one([timeline([1], begin_s=0, tid=-1, name=""), timeline([1], begin_s=1, tid=-1, name="worker")]).lanes) == 2


def test_a_timeline_is_bounded_and_says_so() -> None:
    """The latest samples stay; the totals hold all."""
    profile = checked(in_one([timeline([1, 2] * 4, begin_s=0), timeline([1, 2] * 4, begin_s=8)], limit=5))
    assert len(profile.samples) == 5
    assert int(profile.samples.time_ns[0]) == 11 * 10**9
    assert int(profile.cells.value.sum()) == 16 * 10**9
    assert [note for note in profile.meta.passes[-1].notes if "the timeline begins at second 11" in note]
