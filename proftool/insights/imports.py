"""Time before the work: modules that are loaded, with all that they load."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proftool.insights.view import Charge, Mask, View, view
from proftool.model.insight import Insight
from proftool.model.profile import ROOT, Profile

_MIN_SHARE = 0.1
_MIN_NS = 50_000_000


class Imports:
    """Speaks of a line of the project that itself imports and takes a tenth of a run's working time and 50 ms by it."""

    id = "import-time"

    def look(self, profile: Profile) -> Sequence[Insight]:
        """At most three, the dearest first."""
        seen = view(profile)
        loading = seen.functions(
            lambda module, name: module.startswith("importlib._bootstrap") and name in ("_find_and_load", "_handle_fromlist", "__import__")
        )
        if seen.is_edges:
            # An import inside another counts in both pairs, so they cannot be added up: the dearest caller's own is right.
            charges = seen.charges(loading | _by_name(seen), imports=True, direct=True)[:1]
            charges = [Charge(one.function, 0, min(one.value, seen.whole)) for one in charges]
        else:
            charges = _charges(seen, loading | _by_name(seen))
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


def _by_name(seen: View) -> Mask:
    """`importlib.import_module` and what is between it and the loader."""
    return seen.functions(
        lambda module, name: module == "importlib" or (module.startswith("importlib._bootstrap") and name == "_gcd_import")
    )


def _charges(seen: View, loading: Mask) -> list[Charge]:
    """Time below each line of the project that called the loader directly, down to the project's next line below it, largest first."""
    tree, near = seen.tree, seen.near
    direct = np.zeros(len(near), bool)
    for d in range(1, len(tree.levels) - 1):
        level = tree.by_depth[tree.levels[d] : tree.levels[d + 1]]
        up = tree.parent[level]
        is_first = (near[level] != level) & (near[up] == up)
        direct[level] = np.where(is_first, loading[seen.function[level]], direct[up] & (near[level] != level))
    frames = seen.profile.frames
    sums = sorted(seen.lines(seen.working * direct).items(), key=lambda item: -item[1])
    return [Charge(int(frames.function[frame]), int(frames.line[frame]), value) for frame, value in sums]


rule = Imports()
