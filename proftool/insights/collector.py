"""The garbage collector at work: every collection walks over the objects that may have died, and many that live make it walk far.

The evidence is the collector's own callbacks in the recorded processes, not samples: they see the line that runs and not why it is slow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proftool.insights.view import Charge, view
from proftool.model.circumstances import collected
from proftool.model.insight import Insight
from proftool.model.profile import ROOT, Category, Profile

_MIN_SHARE = 0.1
_MIN_NS = 50_000_000
_ADVICE = (
    "make fewer objects that live at the same time (tuples, `__slots__`, arrays, one large object for many small); where they must "
    "live, `gc.freeze()` when they are loaded, or `gc.disable()` while they are"
)


class GcPressure:
    """Speaks of a line of the project during which collections took a tenth of the working time and 50 ms."""

    id = "gc-pressure"

    def look(self, profile: Profile) -> Sequence[Insight]:
        """One insight a line, the dearest first; nothing where the collector was not watched (traces, memory, attached processes)."""
        told = collected([one.collector for one in profile.meta.passes if one.collector is not None])
        if told is None:
            return []
        seen, insights = view(profile), list[Insight]()
        whole = max(seen.whole, told.cpu_ns)
        for file, line, name, spent_ns, runs in told.lines:
            function = _function(profile, file, line, name)
            # Others' lines stand there where no line of the project called: an import of a test runner, a thread of a library.
            if (
                spent_ns >= max(whole * _MIN_SHARE, _MIN_NS)
                and function != ROOT
                and profile.functions.category[function] == Category.PROJECT
            ):
                full = f", {told.runs[-1]:,} of all {sum(told.runs):,} were full" if told.runs[-1] else ""
                what = f"went to the garbage collector while this line ran: {runs:,} collections{full}"
                charge = Charge(function, line, spent_ns)
                insights.append(
                    seen.insight(self.id, charge, what, _ADVICE, "https://docs.python.org/3/library/gc.html#gc.freeze", whole=whole)
                )
        return insights


def _function(profile: Profile, file: str, line: int, name: str) -> int:
    """The function of that bare name that begins last before the line."""
    f = profile.functions
    texts = {text: index for index, text in enumerate(profile.strings)}
    rows = np.flatnonzero((f.file == texts.get(file, ROOT)) & (f.name == texts.get(name, ROOT)) & (f.first_line <= line))
    return int(rows[np.argmax(f.first_line[rows])]) if len(rows) else ROOT


rule = GcPressure()
