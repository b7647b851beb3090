"""What is read says what the tool that wrote it says of the same file."""

from __future__ import annotations

import cProfile
import json
import pstats
import subprocess
import sys
from pathlib import Path

import pytest

from proftool import registry
from proftool.contracts import WritableFormat
from proftool.model.profile import ROOT, Profile
from proftool.model.tree import function_self, function_total, lane_total, metric_total, node_function, node_self

FILES = Path(__file__).parent.parent / "golden" / "files"


def read(path: Path) -> Profile:
    """The file through the first format that takes it."""
    head = path.read_bytes()[:4096]
    return next(format for format in registry.formats() if format.matches(head)).read(path)


def fibonacci(n: int) -> int:
    """Recurses."""
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


class First:
    """Has a method of a common name."""

    def run(self) -> int:
        """Works."""
        return sum(range(2000))


class Second:
    """Has one of the same name."""

    def run(self) -> int:
        """Works."""
        return fibonacci(8)


def test_pstats_totals_are_those_of_pstats(tmp_path: Path) -> None:
    """Total time, calls, and each function's calls, own and cumulative time, recursion included, are what pstats prints."""
    profiler = cProfile.Profile()
    profiler.runcall(lambda: [First().run(), Second().run(), fibonacci(12)])
    path = tmp_path / "x"
    profiler.dump_stats(path)
    stats, profile = pstats.Stats(str(path)), read(path)
    assert metric_total(profile, 1) == stats.total_calls  # type: ignore[attr-defined]
    assert abs(metric_total(profile, 0) - stats.total_tt * 1e9) <= len(stats.stats)  # type: ignore[attr-defined]
    assert profile.is_edges
    by_key = {
        (profile.text(f), line, profile.text(q)): i
        for i, (f, line, q) in enumerate(zip(profile.functions.file, profile.functions.first_line, profile.functions.qualname, strict=True))
    }
    own, total, calls = function_self(profile, 0), function_total(profile, 0), function_self(profile, 1)
    found = 0
    for (file, line, name), (_, n, tt, ct, _) in stats.stats.items():  # type: ignore[attr-defined]
        if (row := by_key.get((file, line, name))) is not None:
            found += 1
            assert (calls[row], own[row], total[row]) == (n, round(tt * 1e9), round(ct * 1e9))
    assert found >= 3
    runs = [i for i, q in enumerate(profile.functions.qualname) if profile.text(q) == "run"]
    assert len(runs) == 2


def test_pstats_reads_what_is_written_for_it(tmp_path: Path) -> None:
    """CPython's own reader opens an export, of pairs and of stacks, and finds the same total."""
    pairs = registry.format("pstats")
    assert isinstance(pairs, WritableFormat)
    for name in ("cprofile.prof", "py-spy.speedscope.json", "pyinstrument.pyisession"):
        profile = read(FILES / name)
        path = tmp_path / "out.prof"
        path.write_bytes(pairs.write(profile))
        assert pstats.Stats(str(path)).total_tt == pytest.approx(metric_total(profile, 0) / 1e9, abs=1e-6)  # type: ignore[attr-defined]


def test_callers_of_stacks_count_recursion_once(tmp_path: Path) -> None:
    """Pairs made of stacks: fib's total is the time in which it was on the stack, and its callers' parts add up to no more."""
    path = tmp_path / "x"
    path.write_text("main;fib;fib;fib 4\nmain;fib;work 2\nmain;work 1\n")
    profile = read(path)
    speed = registry.format("speedscope")
    assert isinstance(speed, WritableFormat)
    timed = json.loads(speed.write(profile))
    for one in timed["profiles"]:
        one["unit"] = "seconds"
    path.write_text(json.dumps(timed))
    pairs = registry.format("pstats")
    assert isinstance(pairs, WritableFormat)
    path.write_bytes(pairs.write(read(path)))
    stats = {key[2]: value for key, value in pstats.Stats(str(path)).stats.items()}  # type: ignore[attr-defined]
    assert stats["fib"][2:4] == pytest.approx((4, 6))
    assert {key[2]: value[3] for key, value in stats["fib"][4].items()} == pytest.approx({"main": 6, "fib": 4})
    assert {key[2]: value[3] for key, value in stats["work"][4].items()} == pytest.approx({"main": 1, "fib": 2})
    assert stats["main"][3] == pytest.approx(7)


def test_pyinstrument_totals_are_the_sessions(tmp_path: Path) -> None:
    """The total is pyinstrument's own, every function's total is its frame's, and what it calls a built-in is one."""
    from pyinstrument.session import Session

    path = tmp_path / "session"
    script = "import time, json\ndef nap(): time.sleep(0.03)\nnap()\njson.dumps(list(range(300000)))\n"
    (tmp_path / "s.py").write_text(script)
    subprocess.run(
        [sys.executable, "-m", "pyinstrument", "-r", "session", "-o", str(path), str(tmp_path / "s.py")], check=True, capture_output=True
    )
    session, profile = Session.load(path), read(path)
    root = session.root_frame(trim_stem=False)
    assert root is not None
    assert metric_total(profile, 0) == pytest.approx(root.time * 1e9, abs=len(session.frame_records))
    assert metric_total(profile, 2) == len(session.frame_records) == len(profile.samples)
    slept = sum(time for stack, time in session.frame_records if stack[-1].startswith("sleep\0"))
    assert slept > 0.02
    assert metric_total(profile, 1) == pytest.approx(slept * 1e9, rel=0.2)
    nap = next(i for i, q in enumerate(profile.functions.qualname) if profile.text(q) == "nap")
    assert function_total(profile, 0)[nap] == pytest.approx(
        sum(t for stack, t in session.frame_records if any(f.startswith("nap\0") for f in stack)) * 1e9, abs=1e3
    )
    assert [profile.text(i) for i in profile.lanes.thread_name] == ["MainThread"]
    assert not any("<thread>" in profile.text(i) for i in profile.functions.file)


def test_pyinstrument_opens_what_is_written_for_it(tmp_path: Path) -> None:
    """Its own reader loads an export and finds the same total."""
    from pyinstrument.session import Session

    writer = registry.format("pyinstrument")
    assert isinstance(writer, WritableFormat)
    for name in ("py-spy.speedscope.json", "pyinstrument.pyisession"):
        profile = read(FILES / name)
        (tmp_path / "x").write_bytes(writer.write(profile))
        root = Session.load(tmp_path / "x").root_frame(trim_stem=False)
        assert root is not None
        assert root.time == pytest.approx(metric_total(profile, 0) / 1e9)


def test_collapsed_totals_are_the_sum_of_the_lines() -> None:
    """py-spy's own lines, those of threads without a frame included."""
    path = FILES / "py-spy.collapsed"
    profile = read(path)
    lines = path.read_text().splitlines()
    assert metric_total(profile, 0) == sum(int(line.rpartition(" ")[2]) for line in lines)
    leaf = sum(int(line.rpartition(" ")[2]) for line in lines if "Shop.wait (shop.py" in line.rpartition(";")[2])
    own = function_self(profile, 0)
    assert leaf == sum(own[i] for i, q in enumerate(profile.functions.qualname) if profile.text(q) == "Shop.wait")


def test_collapsed_agrees_with_nested_dicts(tmp_path: Path) -> None:
    """A large file of random stacks over many chunks gives what the obvious reader gives, stack by stack."""
    import random

    rng = random.Random(11)
    frames = [f"function_{i} (pack/module_{i % 7}.py:{i})" for i in range(90)] + ["größe", "a" * 700, "x", "", "y:1)", "odd (a.py:x)"]
    stacks = [[rng.choice(frames) for _ in range(rng.randint(1, 12))] for _ in range(900)]
    path, expected = tmp_path / "x", dict[tuple[str, ...], int]()
    with path.open("w", newline="") as out:
        for _ in range(40_000):
            stack = rng.choice(stacks)[: rng.randint(1, 12)]
            count = rng.choice((0, 1, 5, 10**9))
            out.write(";".join(stack) + f" {count}" + rng.choice(("\n", "\r\n", "\n\n")))
            key = tuple(frame or "(no frames)" for frame in stack)
            expected[key] = expected.get(key, 0) + count
    profile = read(path)
    function, own = node_function(profile), node_self(profile, 0)
    found: dict[tuple[str, ...], int] = {}
    names: list[tuple[str, ...]] = []
    for node, parent in enumerate(profile.nodes.parent.tolist()):
        f = function[node]
        file, line = profile.text(profile.functions.file[f]), profile.frames.line[profile.nodes.frame[node]]
        name = profile.text(profile.functions.qualname[f]) + (f" ({file}:{line})" if file else "")
        names.append((names[parent] if parent != ROOT else ()) + (name,))
        if own[node]:
            found[names[-1]] = int(own[node])
    assert path.stat().st_size > 3 << 20
    assert found == {key: value for key, value in expected.items() if value}


def test_speedscope_lanes_units_and_gaps() -> None:
    """Events and samples give each lane its time; what passes with no frame open is nobody's."""
    profile = read(FILES / "evented.speedscope.json")
    assert [profile.text(i) for i in profile.lanes.thread_name] == ["one", "two"]
    assert lane_total(profile, 0).tolist() == [21_000_000, 6_000_000]
    own = dict(zip((profile.text(i) for i in profile.functions.qualname), function_self(profile, 0).tolist(), strict=True))
    assert own == {"main": 4_000_000, "A.run": 10_000_000, "idle": 13_000_000}
    by_lane = {lane: [int(t) for t, at in zip(profile.samples.time_ns, profile.samples.lane, strict=True) if at == lane] for lane in (0, 1)}
    assert by_lane == {0: [0, 2_000_000, 10_000_000, 20_000_000], 1: [0, 1_000_000, 6_000_000]}


def test_speedscope_totals_are_the_sum_of_the_weights() -> None:
    """py-spy's own file, thread by thread."""
    path = FILES / "py-spy.speedscope.json"
    told, profile = json.loads(path.read_text()), read(path)
    weights = [sum(weight for stack, weight in zip(p["samples"], p["weights"], strict=True) if stack) for p in told["profiles"]]
    assert lane_total(profile, 0).tolist() == pytest.approx([round(w * 1e9) for w in weights], abs=100)


def test_losses_are_told(tmp_path: Path) -> None:
    """Exporting says what the format cannot hold, in the numbers of this profile."""
    profile = read(FILES / "pyinstrument.pyisession")
    writer = registry.format("collapsed")
    assert isinstance(writer, WritableFormat)
    told = " | ".join(writer.lost(profile))
    assert "wall_time" in told
    assert f"{len(profile.samples):,} samples" in told
    assert registry.format("native").lost(profile) == ()  # type: ignore[attr-defined]
