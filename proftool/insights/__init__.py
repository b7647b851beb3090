"""Rules that name a known cause of slowness or waste from a profile, with what was measured and what to do.

A rule speaks only where the profile shows the cause itself (the function that does the work, the line that calls it), never from a habit of
the code alone. Add one: a module with a `rule` (contracts.Rule) and a row in registry.RULES. view.py holds what the rules share.
"""

from __future__ import annotations

from proftool.model.insight import Insight
from proftool.model.profile import Profile


def find(profile: Profile, *, limit: int = 20) -> tuple[Insight, ...]:
    """What every rule finds in a profile, the largest share first, at most `limit`."""
    from proftool import registry

    found = [insight for rule in registry.rules() for insight in rule.look(profile)]
    return tuple(sorted(found, key=lambda insight: -insight.share)[:limit])
