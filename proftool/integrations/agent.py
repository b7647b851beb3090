"""What an agent may ask, each answer plain text within a budget of tokens, every run named by a handle that stays valid.

A tool runs the command line in a process of its own: what the target prints can then never mix with the protocol on this process's
stdout, a target that hangs is ended, and an agent sees what a person would. mcp.py gives these functions to the official SDK.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from proftool.errors import ProftoolError, UsageError

CHARS_A_TOKEN = 4
"""About; the budget is a bound on the size of an answer, not a promise of a tokenizer's count."""
BUDGET_TOKENS = 2000
_LIMIT_S = 600


def record(command: list[str], mode: str = "sample", runs: int = 1, label: str | None = None, limit_s: int = _LIMIT_S) -> str:
    """Run a Python program under a profiler and keep the run. `command` is what comes after `proftool run --`: `["app.py", "arg"]` or
    `["python", "-m", "pytest", "-q"]`. `mode`: sample (where the time goes), trace (exact calls) or memory. Five `runs` under one
    `label` are a side that `compare` can judge. Answers with the summary and the run's id."""
    named = ["--label", label] if label else []
    return _answer(["run", "--mode", mode, "--runs", str(runs), *named, "--", *command], limit_s=limit_s, target=True)


def attach(pid: int, duration_s: float = 10, mode: str = "sample") -> str:
    """Record a running Python process for some seconds; it goes on unharmed. Answers with the summary and the run's id."""
    return _answer(["attach", str(pid), "--mode", mode, "--duration", f"{duration_s}s"], limit_s=int(duration_s) + 120, target=True)


def runs(limit: int = 20) -> str:
    """The newest runs, one a line: id, label, command, duration, total."""
    return _answer(["list", "--limit", str(limit)])


def show(run: str = "@latest", by: str | None = None, function: str | None = None, metric: str | None = None, limit: int = 15) -> str:
    """A run's functions by self time with advice. `run`: an id, a label, `@latest`, `@latest~1`, `@main` (a git revision) or a file.
    `by`: function, line, module, thread, callers or callees (these two need `function`, a qualified name as the table prints it)."""
    asked = ["show", run, "--limit", str(limit)]
    for name, value in (("--by", by), ("--function", function), ("--metric", metric)):
        asked += [name, value] if value else []
    return _answer(asked)


def compare(base: str, new: str, metric: str | None = None) -> str:
    """What changed between two runs or two labels of several runs, with intervals and verdicts; says when it cannot be told."""
    return _answer(["diff", base, new, *(["--metric", metric] if metric else [])])


def measure(base: str, command: list[str], head: str | None = None, limit_s: int = _LIMIT_S) -> str:
    """The same command at two git revisions, beside each other (without `head`: the working tree, edits included), with the functions
    behind a difference. The way to prove that an optimisation helps."""
    return _answer(["ab", base, *([head] if head else []), "--", *command], limit_s=limit_s)


def source(file: str, run: str = "@latest") -> str:
    """The lines of one of the project's own files with their share of the run's main metric; lines far from any share are left out."""
    from proftool import settings
    from proftool.reports.heat import heat
    from proftool.store import open_store
    from proftool.workflows import show as showing

    try:
        return clipped(heat(showing.load(run, open_store(settings.load()), Path.cwd()).profile, file))
    except ProftoolError as error:
        return f"error: {error.what}\ncause: {error.cause}\nfix:   {error.fix}"


TOOLS: tuple[Callable[..., str], ...] = (record, attach, runs, show, compare, measure, source)


def clipped(text: str, budget_tokens: int = BUDGET_TOKENS) -> str:
    """At most the budget, whole lines, and what was left out is said."""
    room = budget_tokens * CHARS_A_TOKEN
    if len(text) <= room:
        return text
    lines = text.splitlines()
    kept: list[str] = []
    for line in lines:
        room -= len(line) + 1
        if room < 80:
            break
        kept.append(line)
    return "\n".join([*kept, f"({len(lines) - len(kept)} more lines; ask with a smaller limit)"])


def _answer(words: Sequence[str], *, limit_s: int = 60, target: bool = False) -> str:
    """What the command line says to a person; with `target`, also how the target ended and the tail of what it printed."""
    if any("\0" in word for word in words):
        raise UsageError("a word with a null byte", cause="no command line can hold it", fix="leave it out")
    process = subprocess.Popen(
        [sys.executable, "-m", "proftool", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "120"},
        start_new_session=True,
    )
    late = ""
    try:
        out, told = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)  # a recording that is interrupted is kept
        try:
            out, told = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, told = process.communicate()
        late = f"\nended after {limit_s} s"
    said, printed = told.decode(errors="replace"), out.decode(errors="replace")
    if not target:
        return clipped((printed or said) + ("" if process.returncode in (0, 1, 10) or not printed else said) + late)
    tail = "\n".join(printed.splitlines()[-10:])[-1000:]
    return clipped(
        f"{said.rstrip()}\nexit status {process.returncode}{late}" + (f"\nthe program printed (its end):\n{tail}" if tail else "")
    )
