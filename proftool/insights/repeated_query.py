"""A query for each row (N+1): one call of a function sends many statements where one would bring all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proftool.insights.view import Charge, calls, view, worth
from proftool.model.insight import Insight
from proftool.model.profile import ROOT, Category, Profile

_MIN_CALLS = 30
_MIN_PER_CALL = 10
_NAMES = frozenset({"execute", "Cursor.execute", "sqlite3.Cursor.execute", "Connection.execute", "sqlite3.Connection.execute"})


class RepeatedQuery:
    """Speaks of a function of the project that sends at least ten statements a call; needs counted calls (trace)."""

    id = "repeated-query"

    def look(self, profile: Profile) -> Sequence[Insight]:
        """One insight a function, the largest share first."""
        seen, edges, f = view(profile), profile.edges, profile.functions
        counted = calls(profile)
        if not seen.is_edges or counted is None:
            return []
        execute = seen.functions(lambda module, name: name in _NAMES)
        charges: list[Charge] = []
        for row in np.flatnonzero(execute[edges.callee] & (edges.caller != ROOT)).tolist():
            caller, n = int(edges.caller[row]), int(edges.calls[row])
            if f.category[caller] == Category.PROJECT and n >= _MIN_CALLS and n >= _MIN_PER_CALL * max(int(counted[caller]), 1):
                charges.append(Charge(caller, 0, int(edges.total_ns[row]), n))
        return [
            seen.insight(
                self.id,
                charge,
                f"sends SQL statements one by one from {max(int(counted[charge.function]), 1):,} call(s) of this function",
                "ask for all rows in one statement (`WHERE id IN (…)`, a join), load the relation eagerly, or write by `executemany`",
                "https://docs.sqlalchemy.org/en/20/orm/queryguide/relationships.html",
                effect="measured on SQLite in memory, where a statement costs least: one SELECT for 385 1.4–4.0 times as fast",
            )
            for charge in sorted(worth(charges, seen.whole), key=lambda charge: -charge.value)
        ]


rule = RepeatedQuery()
