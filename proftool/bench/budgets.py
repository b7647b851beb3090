"""Budgets of `[tool.proftool.budgets]`: what a command, a benchmark or an import may take, and whether it keeps to it.

    [tool.proftool.budgets.report]
    command = "python -m shop.report"      # or bench = "bench_model.py::bench_total", or import = "shop"
    time = "1.2s"                          # wall time; cpu, peak and allocations likewise
    peak = "80MB"

    [tool.proftool.budgets.total]
    bench = "bench_model.py::bench_total"
    against = "main"                       # limits are then what it may grow by
    cpu = "+5%"

An absolute limit is held by the median over fresh processes, decided by a sign test at a few looks; a relative one by the interval of
interleaved pairs. What neither passes nor fails surely is inconclusive.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import comb
from typing import cast

from proftool.errors import UsageError
from proftool.units import Unit, duration_ns, people, size_bytes

LOOKS = (10, 20, 40)
"""Numbers of processes at which an absolute limit is judged."""
ALPHA = 0.01
UNITS = {"time": Unit.NANOSECONDS, "cpu": Unit.NANOSECONDS, "peak": Unit.BYTES, "allocations": Unit.COUNT}
_SUBJECTS = ("command", "bench", "import")


class Outcome(StrEnum):
    """Whether a budget was kept."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One quantity's limit: a value in its base unit or, against a base, the part that it may grow by."""

    quantity: str
    most: float
    relative: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One table below `[tool.proftool.budgets]`."""

    name: str
    kind: str
    """`command`, `bench` or `import`."""
    subject: str
    limits: tuple[Limit, ...]
    against: str | None = None

    @property
    def command(self) -> list[str]:
        """The words of a command."""
        return shlex.split(self.subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One limit, held to what was measured."""

    budget: Budget
    limit: Limit
    outcome: Outcome
    measured: float
    """Median in the base unit; for a relative limit the part by which it grew."""
    n: int
    interval: tuple[float, float] | None = None

    def told(self) -> str:
        """One line for people."""
        unit = UNITS[self.limit.quantity]
        if self.limit.relative:
            span = "" if self.interval is None else f" [{self.interval[0] * 100:+.1f}, {self.interval[1] * 100:+.1f}]"
            return (
                f"{self.outcome:<12} {self.budget.name}: {self.limit.quantity} {self.measured * 100:+.1f} %{span} against "
                f"{self.budget.against}, may grow by {self.limit.most * 100:g} %"
            )
        return (
            f"{self.outcome:<12} {self.budget.name}: {self.limit.quantity} {people(self.measured, unit)} of {people(self.limit.most, unit)}"
            f" ({self.n} processes)"
        )


def parse(tables: Mapping[str, object]) -> list[Budget]:
    """The budgets of a project; UsageError names the table and what is wrong with it."""
    return [_budget(name, table) for name, table in tables.items()]


def _budget(name: str, table: object) -> Budget:
    if not isinstance(table, dict):
        raise _wrong(name, f"it is `{table}`", "write a table: [tool.proftool.budgets." + name + "]")
    rows = cast("dict[str, object]", table)
    kinds = [kind for kind in _SUBJECTS if kind in rows]
    if len(kinds) != 1 or not isinstance(rows[kinds[0]], str):
        raise _wrong(name, "it does not say what is measured", "give it one of `command`, `bench` and `import`, each a text")
    against = rows.get("against")
    if against is not None and not isinstance(against, str):
        raise _wrong(name, f"`against` is `{against}`", 'name a branch, tag or commit: `against = "main"`')
    limits = tuple(_limit(name, key, value, against) for key, value in rows.items() if key not in (*_SUBJECTS, "against"))
    if not limits:
        raise _wrong(name, "it has no limit", f"give it one of {', '.join(UNITS)}")
    kind, subject = kinds[0], str(rows[kinds[0]])
    if kind == "bench" and "::" not in subject:
        raise _wrong(name, f"`{subject}` names no benchmark", "write `file.py::name`, as `proftool bench` prints it")
    if kind == "import" and any(limit.relative or limit.quantity == "allocations" for limit in limits):
        raise _wrong(
            name, "an import has absolute limits of time, cpu and peak", "measure its command instead: `command = \"python -c 'import …'\"`"
        )
    return Budget(name=name, kind=kind, subject=subject, limits=limits, against=against)


def _limit(name: str, key: str, value: object, against: str | None) -> Limit:
    if key not in UNITS:
        raise _wrong(name, f"`{key}` is no quantity", f"known are {', '.join(UNITS)}, and `against`")
    text = str(value).strip()
    if text.endswith("%"):
        if against is None:
            raise _wrong(name, f"`{key} = {text}` is relative, and there is no base", 'add `against = "main"`')
        return Limit(quantity=key, most=_number(name, text[:-1]) / 100, relative=True)
    if against is not None:
        raise _wrong(name, f"`{key} = {text}` is absolute, and `against` asks for a growth", 'write `"+5%"`, or leave `against` out')
    try:
        most = (
            duration_ns(text) if UNITS[key] is Unit.NANOSECONDS else size_bytes(text) if UNITS[key] is Unit.BYTES else _number(name, text)
        )
    except ValueError as error:
        raise _wrong(name, f"`{key} = {text}`", str(error)) from error
    return Limit(quantity=key, most=float(most), relative=False)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _wrong(name, f"`{text}` is no number", "write a number") from None


def _wrong(name: str, cause: str, fix: str) -> UsageError:
    return UsageError(f"the budget `{name}` cannot be read", cause=cause, fix=fix)


def judge_absolute(values: Sequence[float], most: float) -> Outcome:
    """Is the median over processes surely within the limit, surely beyond, or neither yet? A look's part of alpha."""
    n, within = len(values), sum(value <= most for value in values)
    alpha = ALPHA / len(LOOKS)
    if _tail(n, within) <= alpha:
        return Outcome.PASS
    if _tail(n, n - within) <= alpha:
        return Outcome.FAIL
    return Outcome.INCONCLUSIVE


def _tail(n: int, k: int) -> float:
    """P(at least k heads of n)."""
    return sum(comb(n, at) for at in range(k, n + 1)) / 2**n


def judge_relative(low: float, high: float, most: float) -> Outcome:
    """An interval of the ratio new / base against what it may grow by."""
    if high <= 1 + most:
        return Outcome.PASS
    return Outcome.FAIL if low > 1 + most else Outcome.INCONCLUSIVE


def exit_status(found: Sequence[Kept]) -> int:
    """0 all are kept, 1 one is broken, 10 one is undecided."""
    outcomes = {one.outcome for one in found}
    return 1 if Outcome.FAIL in outcomes else 10 if Outcome.INCONCLUSIVE in outcomes else 0
