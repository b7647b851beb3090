"""The cause of a difference that `ab` found: recordings of both sides in turn, one traced run a side, and the page that shows it.

Never the timed processes themselves: a recording costs time. The in-process sampler's millisecond finds small functions; the traced run
counts calls, and its times are not used.
"""

from __future__ import annotations

import ast
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from proftool import registry
from proftool.bench import checkouts
from proftool.bench.causes import Calls, Cause, Touched, brought_to, calls_of, causes, inside, judged, reached
from proftool.bench.pairs import Compared, SideName
from proftool.bench.processes import WORKER, Side
from proftool.contracts import Mode, ReportOptions
from proftool.errors import AssetsMissing, BackendFailed, BackendUnavailable
from proftool.formats import native
from proftool.launch.whole import run_whole
from proftool.model.compare import diff as compare_profiles
from proftool.model.profile import Profile
from proftool.model.transform import strip_frames
from proftool.workflows.changed import touched_lines, untracked

Say = Callable[[str], None]
PROFILE_PAIRS = 6
LEAST_PROFILE_PAIRS = 4
"""Of fewer recordings a side no function can be told: four against four have 70 splits."""
START_S = 0.5
"""Of one recording, beside the work itself: its process, and reading what it left."""
END_S = 5.0
"""So long a recording may take to end when the comparison is told to."""
PAGES_KEPT = 50
"""Older pages of comparisons are deleted."""


@dataclass(frozen=True, slots=True)
class Work:
    """How to run one benchmark under a profiler, and how many runs of the benchmark one such run is."""

    argv: Sequence[str]
    runs: int
    traced: Sequence[str]
    """A shorter run for the tracer."""
    traced_runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """The functions behind one benchmark's change."""

    causes: tuple[Cause, ...] = ()
    page: str | None = None
    """Name for `proftool open`; None where the viewer was not built."""
    left_out: str | None = None
    """Why there are no causes."""


def explain(
    answer: Compared, work: Work, both: Mapping[SideName, Side], pages: Path | None, say: Say, *, until: float | None = None
) -> Explained:
    """
    Record both sides in turn and say which functions changed.

    Args:
        until: by the monotonic clock; what cannot be recorded by then is left out, and a pair that has begun is ended.
    """
    profiles: dict[str, list[Profile]] = {"base": [], "new": []}
    middle = {"base": float(np.median(answer.base_ns)), "new": float(np.median(answer.new_ns))}
    begin = time.monotonic()
    pair_s = 2 * START_S + (middle["base"] + middle["new"]) * work.runs / 1e9
    for pair in range(PROFILE_PAIRS):
        if pair:
            pair_s = (time.monotonic() - begin) / pair
        # Recordings that are too few to tell anything are not begun.
        if until is not None and time.monotonic() + pair_s * max(LEAST_PROFILE_PAIRS - pair, 1) > until:
            break
        say(f"{answer.name} is {answer.verdict}: recording pair {pair + 1} of {PROFILE_PAIRS}")
        for side in ("base", "new") if pair % 2 else ("new", "base"):
            raw = recorded(work.argv, both[side], seed=pair + 1, mode=Mode.SAMPLE)
            profiles[side].append(brought_to(raw, answer.clock, middle[side] * work.runs))
    if len(profiles["new"]) < LEAST_PROFILE_PAIRS:
        needed = np.ceil(pair_s * (PROFILE_PAIRS + 1))
        return Explained(
            left_out=f"causes were not looked for: the budget is used up, and they take about {needed:.0f} s; raise `--budget`"
        )
    found = compare_profiles(profiles["base"], profiles["new"], metric="wall_time", names=(both["base"].name, both["new"].name), force=True)
    say(f"{answer.name}: counting calls")
    calls: tuple[Calls, Calls] | None = None
    if _backend(Mode.TRACE) is not None and (until is None or time.monotonic() + pair_s <= until):
        old, new = (calls_of(recorded(work.traced, both[side], seed=1, mode=Mode.TRACE), work.traced_runs) for side in ("base", "new"))
        calls = (old, new)
    edits = touched(both, "new"), touched(both, "base")
    found = judged(found, profiles["base"], profiles["new"], answer, reaches=lambda diff: reached(diff, calls, *edits))
    named = causes(found, answer, work.runs, calls, *edits)
    page = None
    if pages is not None:
        name = f"ab-{secrets.token_hex(2)}"
        try:
            content = _page(found)
        except AssetsMissing:
            content = b""
        if content:
            _keep(pages / f"{name}.html", content)
            page = name
    return Explained(causes=named, page=page)


def _page(found: object) -> bytes:
    from proftool.model.diff import Diff
    from proftool.reports.flamegraph import render_diff

    assert isinstance(found, Diff)
    return render_diff(found, ReportOptions())


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(content)
    older = sorted(path.parent.glob("ab-*.html"), key=lambda one: one.stat().st_mtime_ns, reverse=True)[PAGES_KEPT:]
    for one in older:
        one.unlink(missing_ok=True)


def _backend(mode: Mode) -> str | None:
    """The backend that records that way from inside the target."""
    for name in registry.names("backend"):
        able = registry.backend(name).capabilities
        if able.in_process and mode in able.modes and (able.stacks or mode is Mode.TRACE):
            return name
    return None


def recorded(argv: Sequence[str], side: Side, *, seed: int, mode: Mode) -> Profile:
    """The work once under a profiler; proftool runs as a command of its own, so that the side's folder and environment are its."""
    backend = _backend(mode)
    if backend is None:
        raise BackendUnavailable(f"no backend records `{mode}` inside the target", cause="none is registered", fix="`proftool doctor`")
    with tempfile.TemporaryDirectory(prefix="proftool-ab-") as folder:
        file = Path(folder) / "run.proftool"
        read, write = os.pipe()
        env = side.environment(seed) | {"PROFTOOL_BENCH_FD": str(write), "PROFTOOL_STORE": f"sqlite:///{folder}/runs.db"}
        command = [
            sys.executable,
            "-m",
            "proftool",
            "run",
            "--mode",
            str(mode),
            "--backend",
            backend,
            "--quiet",
            "-o",
            str(file),
            "--",
            *argv,
        ]
        try:
            done = run_whole(command, cwd=side.root, env=env, pass_fds=(write,), grace_s=END_S)
        finally:
            os.close(write)
            os.close(read)
        if not file.exists():
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise BackendFailed(
                f"side {side.name} could not be recorded",
                cause=said[-1] if said else f"status {done.returncode}",
                fix="profile the command by itself: `proftool run`",
            )
        profile = native.loads(file.read_bytes())
    if not profile.is_edges:
        profile = inside(profile, WORKER.name, "timed")
    own = {at for at, text in enumerate(profile.strings) if text.endswith(WORKER.name)}
    return strip_frames(profile, np.isin(profile.functions.file, list(own))) if own else profile


def touched(both: Mapping[SideName, Side], side: SideName) -> Touched:
    """Whether the change between the sides edited a function of that side, and in which of its lines first."""
    new, base = checkouts.top_level(both["new"].root), checkouts.git(both["base"].root, "rev-parse", "HEAD").strip()
    lines = touched_lines(new, base, old=side == "base") or {}
    root, top = both[side].root, checkouts.top_level(both[side].root)
    fresh = untracked(new) if side == "new" else frozenset[str]()
    # Files are named from where the work ran, which may lie below the top of the checkout.
    below = root.resolve().relative_to(top.resolve())

    def first(file: str, line: int) -> int | None:
        path = (below / file).as_posix()
        if path in fresh:
            return line
        ranges = lines.get(path) or lines.get(file) or []
        last = _last_line(root / file if (root / file).exists() else top / file, line) if ranges else line
        return next((max(low, line) for low, high in ranges if low <= last and line <= high), None)

    return first


def _last_line(path: Path, first_line: int) -> int:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return first_line
    ends = [
        node.end_lineno or first_line
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        and first_line in (node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ())))
    ]
    return max(ends, default=first_line)
