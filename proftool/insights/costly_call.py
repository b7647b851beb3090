"""The commonest kind of rule: too much of the working time is inside one known function, called from a line of the project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proftool.insights.view import view, worth
from proftool.model.insight import Insight
from proftool.model.profile import ROOT, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class CostlyCall:
    """Speaks of every line that spends at least 5 % of the working time (and 20 ms) inside the named functions."""

    id: str
    callees: frozenset[tuple[str, str]]
    """(module, qualified name)."""
    what: str
    """Ends the sentence `62 % of the working time (412 ms) …`."""
    advice: str
    link: str
    effect: str | None = None
    """What the advice gave where it was measured (tests/perf/advice.py)."""

    def look(self, profile: Profile) -> Sequence[Insight]:
        """One insight a line."""
        seen = view(profile)
        charges = worth(seen.charges(seen.functions(lambda module, name: (module, name) in self.callees)), seen.whole)
        return [
            seen.insight(self.id, charge, self.what, self.advice, self.link, effect=self.effect)
            for charge in charges
            if charge.function != ROOT
        ]
