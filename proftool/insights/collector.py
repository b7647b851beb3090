"""The garbage collector at work: every collection walks over the objects that may have died, and many that live make it walk far.

The evidence is the collector's own callbacks in the recorded processes, not samples: they see the line that runs and not why it is slow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proftool.insights.view import Charge, view
from proftool.model.circumstances import collected
from proftool.model.insight import Insight
from proftool.model.profile import ROOT, Profile
from proftool.units import percent

_MIN_SHARE = 0.1
_MIN_NS = 50_000_000


class GcPressure:
    """Speaks where collections took a tenth of the working time and 50 ms, of the line that ran during most of it."""

    id = "gc-pressure"

    def look(self, profile: Profile) -> Sequence[Insight]:
        """At most one; nothing where the collector was not watched (traces, memory, attached processes)."""
        found = collected([one.collector for one in profile.meta.passes if one.collector is not None])
        seen = view(profile)
        if found is None or not found.lines or found.cpu_ns < max(seen.whole * _MIN_SHARE, _MIN_NS):
            return []
        file, line, name, spent_ns, _ = found.lines[0]
        full = f", {found.runs[-1]:,} of them full" if found.runs[-1] else ""
        part = percent(spent_ns, found.cpu_ns)
        told = f"went to the garbage collector in {sum(found.runs):,} runs{full}; {part} of it while this line ran"
        charge = Charge(_function(profile, file, line, name), line, min(found.cpu_ns, seen.whole))
        advice = (
            "make fewer objects that live at the same time (tuples, `__slots__`, arrays, one large object for many small); where they "
            "must live, `gc.freeze()` when they are loaded, or `gc.disable()` while they are"
        )
        return [seen.insight(self.id, charge, told, advice, "https://docs.python.org/3/library/gc.html#gc.freeze")]


def _function(profile: Profile, file: str, line: int, name: str) -> int:
    """The function of that bare name that begins last before the line."""
    f = profile.functions
    texts = {text: index for index, text in enumerate(profile.strings)}
    rows = np.flatnonzero((f.file == texts.get(file, ROOT)) & (f.name == texts.get(name, ROOT)) & (f.first_line <= line))
    return int(rows[np.argmax(f.first_line[rows])]) if len(rows) else ROOT


rule = GcPressure()
