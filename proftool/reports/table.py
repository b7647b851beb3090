"""A table with bars: self and total by function, line, module or thread; callers or callees of one function."""

from __future__ import annotations

from collections.abc import Sequence

from proftool.contracts import ReportOptions
from proftool.errors import UsageError
from proftool.model.profile import Profile
from proftool.model.tree import metric_total
from proftool.reports.rows import By, Row, by, default_metric, find, neighbours
from proftool.reports.text import bar, clip, pad, styled
from proftool.units import Unit, people, percent

_BAR = 10


class Table:
    """The report: by function; see the module for the rest."""

    name = "table"
    suffix = ".txt"

    def render(self, profile: Profile, options: ReportOptions) -> bytes:
        """The functions, as UTF-8 text."""
        return (table(profile, options, By.FUNCTION) + "\n").encode("utf-8", "backslashreplace")


def metric_of(profile: Profile, wanted: str | None) -> str:
    """The metric asked for, or the one that people mean; UsageError where the profile has none of that name."""
    if not profile.metrics:
        raise UsageError("the run holds no values", cause="nothing was measured", fix="record it again: `proftool run …`")
    known = [m.name for m in profile.metrics]
    if wanted is None:
        return default_metric(profile) or known[0]
    if wanted not in known:
        import difflib

        near = difflib.get_close_matches(wanted, known, 1)
        raise UsageError(
            f"the run has no metric `{wanted}`", cause=f"it has {', '.join(known)}", fix=f"`--metric {near[0] if near else known[0]}`"
        )
    return wanted


def table(profile: Profile, options: ReportOptions, key: By, function: str | None = None) -> str:
    """The rows of a key, largest self first, within the width and the limit; what is left out is counted."""
    metric = metric_of(profile, options.metric)
    if key in (By.CALLERS, By.CALLEES):
        return _around(profile, options, key, function, metric)
    rows = by(profile, metric, key)
    if function is not None:
        names = {profile.text(int(profile.functions.qualname[i])) for i in _found(profile, function)}
        rows = [row for row in rows if row.name in names]
    return render(
        rows, options, metric, profile.metrics[profile.metric_index(metric)].unit, metric_total(profile, profile.metric_index(metric)), key
    )


def _found(profile: Profile, function: str) -> list[int]:
    if found := find(profile, function):
        return found
    import difflib

    names = sorted({profile.text(int(i)) for i in profile.functions.qualname} | {profile.text(int(i)) for i in profile.functions.name})
    near = difflib.get_close_matches(function, names, 3)
    hint = f"did you mean {' or '.join(f'`{n}`' for n in near)}? " if near else ""
    raise UsageError(
        f"no function `{function}` in the run", cause="none of that name was recorded", fix=f"{hint}`proftool show` lists the functions"
    )


def _around(profile: Profile, options: ReportOptions, key: By, function: str | None, metric: str) -> str:
    if function is None:
        raise UsageError(
            f"the {key} of which function?", cause=f"`--by {key}` is about one function", fix=f"`proftool show --by {key} --function NAME`"
        )
    found = _found(profile, function)
    rows = neighbours(profile, metric, found, key)
    wholes = {row.name: row.total or 0 for row in by(profile, metric, By.FUNCTION)}
    whole = max((wholes.get(profile.text(int(profile.functions.qualname[i])), 0) for i in found), default=0)
    unit = profile.metrics[profile.metric_index(metric)].unit
    title = f"{key} of {function}, {people(whole, unit)} in total"
    return f"{title}\n{render(rows, options, metric, unit, whole, key)}"


def render(rows: Sequence[Row], options: ReportOptions, metric: str, unit: Unit, whole: int, key: By) -> str:
    """Rows as text; bars are parts of the whole."""
    has_self = any(row.self_value is not None for row in rows) and key is not By.THREAD
    has_total = any(row.total is not None for row in rows)
    has_calls = any(row.calls is not None for row in rows)
    wide = options.width >= 90
    head: list[str] = []
    for shown, title in ((has_self, "self"), (has_total, "total")):
        if shown:
            head.append(f"{title:>10} {'%':>7}" + (" " * (_BAR + 1) if wide else ""))
    if has_calls:
        head.append(f"{'calls':>11}")
    prefix = "  ".join(head)
    space = max(options.width - len(prefix) - 2, 20)
    lines = [styled(f"{prefix}  {key if key not in (By.CALLERS, By.CALLEES) else 'function'} ({metric})", "dim", options.color)]
    for row in rows[: options.limit]:
        cells: list[str] = []
        for shown, value in ((has_self, row.self_value), (has_total, row.total)):
            if shown:
                text = "–" if value is None else people(value, unit)
                share = "" if value is None else percent(value, whole)
                cells.append(f"{text:>10} {share:>7}" + (" " + styled(bar(value or 0, whole, _BAR), "blue", options.color) if wide else ""))
        if has_calls:
            cells.append(f"{'' if row.calls is None else format(row.calls, ','):>11}")
        lines.append(f"{'  '.join(cells)}  {named(row.name, row.where, space, options.color)}".rstrip())
    if len(rows) > options.limit:
        lines.append(styled(f"{len(rows) - options.limit} more: `--limit {len(rows)}`", "dim", options.color))
    if not rows:
        lines.append("nothing")
    return "\n".join(lines)


def named(name: str, where: str, space: int, color: bool) -> str:
    """A name and its place in the space there is: the place gives way first."""
    name = clip(name, space)
    rest = space - len(name) - 2
    if not where or rest < 6:
        return styled(name, "bold", color)
    place = where if len(where) <= rest else "…" + where[-(rest - 1) :]
    return f"{styled(name, 'bold', color)}  {styled(clip(place, rest), 'dim', color)}"


__all__ = ["Table", "metric_of", "named", "pad", "render", "report", "table"]

report = Table()
