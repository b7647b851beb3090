"""Hypothesis looks for broken laws, not for slow machines: no deadline, and fewer examples than its default of 100."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("laws", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("laws")
