"""One paragraph for people: what changed, by how much, how sure, which functions explain which share, and did their code change."""

from __future__ import annotations

from proftool.model.diff import Diff, FunctionChange, Verdict
from proftool.model.exact import ARENAS_EXCHANGED
from proftool.model.profile import MetricKind
from proftool.units import people, percent, signed

FILLERS = 3
"""Functions named of what filled a peak."""
LOUD_NOTES = ("the machine was", "the functions moved", ARENAS_EXCHANGED)
"""How the notes begin that nobody may overlook."""
QUIET: frozenset[Verdict] = frozenset({Verdict.SAME, Verdict.INCONCLUSIVE, Verdict.MOVED})


def explain(diff: Diff) -> str:
    """The paragraph; the same in the terminal, the Markdown and the page."""
    unit, delta = diff.metric.unit, diff.new_total - diff.base_total
    flagged = [c for c in diff.functions if c.verdict not in QUIET]
    moved = sum(c.verdict is Verdict.MOVED for c in diff.functions)
    unclear = sum(c.verdict is Verdict.INCONCLUSIVE for c in diff.functions)
    size = f"{signed(delta, unit)}, {percent(delta, diff.base_total)} of {people(diff.base_total, unit)}"
    told: list[str] = []
    if not flagged:
        if delta == 0:
            told.append(f"`{diff.metric.name}` is the same on both sides ({people(diff.base_total, unit)}).")
        else:
            told.append(f"No function changed beyond the noise; `{diff.metric.name}` differs by {size}.")
    else:
        told.append(f"`{diff.metric.name}` changed by {size}.")
        told.extend(_told(diff, c, delta) for c in flagged[:3])
        if len(flagged) > 3:
            told.append(f"{len(flagged) - 3} more functions changed.")
        if diff.explained_share is not None and 0 < diff.explained_share < 10:
            told.append(f"The flagged functions explain {100 * diff.explained_share:.0f} % of the change.")
    if moved:
        told.append(f"{moved} {'function' if moved == 1 else 'functions'} moved without getting slower or faster.")
    if unclear:
        told.append(f"For {unclear} {'function' if unclear == 1 else 'functions'} these runs cannot exclude a change: record more of them.")
    if any(c.weak for c in diff.functions):
        told.append("Fewer than four runs a side: this is weak evidence.")
    if diff.metric.kind is MetricKind.STOCK and diff.base_total and diff.new_total:
        told.extend(_filled(diff))
    told.extend(f"Mind: {reason}." for reason in diff.comparability.reasons if reason.startswith(LOUD_NOTES))
    return " ".join(told)


def _filled(diff: Diff) -> list[str]:
    """What a state consisted of, on either side: the functions that held most of it."""
    when = "At the peak" if diff.metric.name == "peak_bytes" else f"Of `{diff.metric.name}`"
    told: list[str] = []
    unit = diff.metric.unit
    for side, total, at in ((diff.base.name, diff.base_total, 0), (diff.new.name, diff.new_total, 1)):
        held = [((c.base_self, c.new_self)[at], name_of(diff, c)) for c in diff.functions]
        largest = sorted((one for one in held if one[0] > 0), key=lambda one: (-one[0], one[1]))[:FILLERS]
        rest = total - sum(value for value, _ in largest)
        names = ", ".join(f"`{name}` {people(value, unit)}" for value, name in largest)
        told.append(f"{when} of {side} ({people(total, unit)}): {names}" + (f", others {people(rest, unit)}." if rest > 0 else "."))
    return told


def name_of(diff: Diff, change: FunctionChange) -> str:
    """The qualified name of a function of the diff."""
    return diff.profile.text(int(diff.profile.functions.qualname[change.function]))


def _told(diff: Diff, c: FunctionChange, delta: float) -> str:
    unit = diff.metric.unit
    parts = [f"{signed(c.delta_self, unit)} of its own"]
    if c.base_self:
        parts.append(f"{100 * c.delta_self / c.base_self:+.0f} %")
    if c.q is not None:
        parts.append("certain" if c.q == 0 and not c.weak else f"q = {c.q:.2g}")
    text = f"`{name_of(diff, c)}` is {c.verdict} ({', '.join(parts)})"
    if c.more_calls is not None and c.dearer_calls is not None:
        text += f", {signed(c.more_calls, unit)} by the number of calls and {signed(c.dearer_calls, unit)} by their cost"
    if c.code_changed is not None:
        text += "; its code changed" if c.code_changed else "; its code did not change"
    return text + "."
