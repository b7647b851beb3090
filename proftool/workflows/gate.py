"""A rule over a diff: pass, fail or inconclusive, for `diff --fail-on` and `gate`.

RULE: conditions joined by *and*: `self>5%`, `total>2%` (of the function's base value), `self>10ms`, `peak_bytes>1MB`, `q<0.05`.
A function that is flagged and meets all of them fails the gate; one that would meet them within its interval, while nothing is sure, makes
it inconclusive.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from proftool.errors import UsageError
from proftool.model.diff import Diff, FunctionChange, Verdict
from proftool.units import Unit, duration_ns, size_bytes

DEFAULT_RULE = "self>2% q<0.05"
_PART = re.compile(r"(\w+)\s*(>=|<=|>|<)\s*([^\s<>=]+)")
_WORSE = frozenset({Verdict.SLOWER, Verdict.MORE, Verdict.NEW})


class Outcome(StrEnum):
    """What the gate says; its exit status."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_status(self) -> int:
        """0, 1 or 10."""
        return {"pass": 0, "fail": 1, "inconclusive": 10}[self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One part of a rule."""

    quantity: str
    """`self`, `total` or `q`."""
    limit: float
    relative: bool = False
    """`limit` is a part of the function's base value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gated:
    """The answer and the functions that it rests on."""

    outcome: Outcome
    rule: str
    functions: tuple[FunctionChange, ...]


def parse_rule(text: str, diff_metric: str, unit: Unit) -> tuple[Condition, ...]:
    """The conditions of a rule; UsageError names what is wrong with it."""
    words = re.sub(r"\band\b|,", " ", text)
    if not _PART.search(words) or _PART.sub("", words).strip():
        raise _wrong(text, "it is no list of conditions")
    result: list[Condition] = []
    for name, sign, value in _PART.findall(words):
        if name == "q":
            if sign not in ("<", "<="):
                raise _wrong(text, "`q` has an upper limit")
            result.append(Condition(quantity="q", limit=_number(text, value)))
            continue
        if name not in ("self", "total", diff_metric):
            raise _wrong(text, f"`{name}` is not compared here; `{diff_metric}` is")
        if sign not in (">", ">="):
            raise _wrong(text, f"`{name}` has a lower limit: what is larger fails")
        quantity = "total" if name == "total" else "self"
        if value.endswith("%"):
            result.append(Condition(quantity=quantity, limit=_number(text, value[:-1]) / 100, relative=True))
        else:
            result.append(Condition(quantity=quantity, limit=_absolute(text, value, unit)))
    return tuple(result)


def gate(diff: Diff, rule: str = DEFAULT_RULE) -> Gated:
    """Hold a diff to a rule."""
    conditions = parse_rule(rule, diff.metric.name, diff.metric.unit)
    sizes = [c for c in conditions if c.quantity != "q"]
    levels = [c for c in conditions if c.quantity == "q"]
    failed: list[FunctionChange] = []
    unclear: list[FunctionChange] = []
    for change in diff.functions:
        sure = change.verdict in _WORSE and all(change.q is not None and change.q < c.limit for c in levels)
        if sure and all(_exceeds(change, c, 0.0) for c in sizes):
            failed.append(change)
        elif change.verdict is Verdict.INCONCLUSIVE and all(_exceeds(change, c, _margin(change)) for c in sizes):
            unclear.append(change)
    outcome = Outcome.FAIL if failed else Outcome.INCONCLUSIVE if unclear else Outcome.PASS
    return Gated(outcome=outcome, rule=rule, functions=tuple(failed or unclear))


def _margin(change: FunctionChange) -> float:
    """How far above the estimate its interval reaches."""
    return 0.0 if change.high is None else change.high - change.delta_self


def _exceeds(change: FunctionChange, condition: Condition, margin: float) -> bool:
    delta, base = (change.delta_total, change.base_total) if condition.quantity == "total" else (change.delta_self, change.base_self)
    return delta + margin > (condition.limit * base if condition.relative else condition.limit)


def _absolute(text: str, value: str, unit: Unit) -> float:
    try:
        match unit:
            case Unit.NANOSECONDS:
                return float(duration_ns(value))
            case Unit.BYTES:
                return float(size_bytes(value))
            case Unit.COUNT:
                return float(value)
    except ValueError as error:
        raise _wrong(text, str(error)) from error


def _number(text: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise _wrong(text, f"`{value}` is no number") from None


def _wrong(text: str, cause: str) -> UsageError:
    return UsageError(f"`{text}` is no rule", cause=cause, fix="write for example `self>5% q<0.05`, `total>10ms`, `peak_bytes>1MB`")
