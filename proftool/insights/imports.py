"""Time before the work: modules that are loaded, with all that they load."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proftool.insights.view import Charge, view
from proftool.model.insight import Insight
from proftool.model.profile import ROOT, Profile

_MIN_SHARE = 0.1
_MIN_NS = 50_000_000


class Imports:
    """Speaks of an import that takes at least a tenth of a run's working time and 50 ms, charged to the line that asks for it."""

    id = "import-time"

    def look(self, profile: Profile) -> Sequence[Insight]:
        """At most three, the dearest first."""
        seen = view(profile)
        loading = seen.functions(
            lambda module, name: module.startswith("importlib._bootstrap") and name in ("_find_and_load", "__import__")
        )
        charges = seen.charges(loading, imports=True)
        if seen.is_edges:
            # Pairs tell who asked, but an import inside another counts in both: only the whole is right.
            table = profile.edges
            own = np.flatnonzero((table.caller == ROOT) & loading[table.callee])
            total = int(table.total_ns[own].sum()) if len(own) else 0
            charges = [Charge(charges[0].function, 0, min(total, seen.whole))] if charges and total else []
        found: list[Insight] = []
        for charge in charges[:3]:
            if charge.function == ROOT or charge.value < max(seen.whole * _MIN_SHARE, _MIN_NS):
                continue
            found.append(
                seen.insight(
                    self.id,
                    charge,
                    "imports modules",
                    "see which by `python -X importtime`; import what only some calls need inside the function that needs it",
                    "https://docs.python.org/3/using/cmdline.html#cmdoption-X",
                )
            )
        return found


rule = Imports()
