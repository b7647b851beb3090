"""The lines of a source file with the share of a metric that each holds: the source view in text."""

from __future__ import annotations

import numpy as np

from proftool.errors import UsageError
from proftool.model.profile import Profile
from proftool.model.tree import Tree, metric_total, node_function, node_self
from proftool.reports.rows import default_metric
from proftool.units import people, percent

_AROUND = 2
"""Lines shown before and after one that has a share."""


def heat(profile: Profile, file: str, metric: str | None = None) -> str:
    """Lines with self and total, others near them for context; UsageError where the run has no such source."""
    sources = dict(profile.meta.sources)
    known = sorted(sources)
    match = [name for name in known if name == file] or [name for name in known if name.endswith("/" + file) or file.endswith("/" + name)]
    if len(match) != 1:
        cause = "the run embeds the project's own files that appear in it" if not match else "several files end like this"
        raise UsageError(f"no source `{file}` in this run", cause=cause, fix=f"known are: {', '.join(known[:20]) or 'none'}")
    named = metric or default_metric(profile)
    if named is None:
        raise UsageError("nothing was measured", cause="the run has no metric", fix="record it again")
    own, total = _by_line(profile, match[0], profile.metric_index(named))
    whole, unit = metric_total(profile, profile.metric_index(named)), profile.metrics[profile.metric_index(named)].unit
    near = {line + d for line in total for d in range(-_AROUND, _AROUND + 1)}
    lines = [f"{match[0]} · {named}, {people(whole, unit)}", f"{'self':>9} {'':6} {'total':>9}"]
    skipped = False
    for number, text in enumerate(sources[match[0]].splitlines(), 1):
        if number not in near:
            skipped = True
            continue
        if skipped and len(lines) > 2:
            lines.append(f"{'':26} …")
        skipped = False
        value = own.get(number, 0)
        left = f"{people(value, unit):>9} {percent(value, whole):>6}" if value else " " * 16
        right = f"{people(total[number], unit):>9}" if number in total else " " * 9
        lines.append(f"{left} {right} {number:5d}  {text}".rstrip())
    return "\n".join(lines)


def _by_line(profile: Profile, file: str, metric: int) -> tuple[dict[int, int], dict[int, int]]:
    """Self and total of every line of the file; a line that recurs on a stack counts once in its total."""
    tree, values = Tree.of(profile), node_self(profile, metric)
    inside = np.array([profile.text(int(i)) == file for i in profile.functions.file], bool)[node_function(profile)]
    line = np.where(inside, profile.frames.line[profile.nodes.frame], 0).astype(np.int32)
    sums = tree.total(values)
    own: dict[int, int] = {}
    total: dict[int, int] = {}
    for node in np.flatnonzero((line > 0) & (values != 0)).tolist():
        own[int(line[node])] = own.get(int(line[node]), 0) + int(values[node])
    for node in np.flatnonzero((line > 0) & tree.outermost(line) & (sums != 0)).tolist():
        total[int(line[node])] = total.get(int(line[node]), 0) + int(sums[node])
    return own, total
