"""What a profile has that a format cannot hold, one sentence each, for `export` and the run's record."""

from __future__ import annotations

from collections.abc import Collection

from proftool.model.profile import Profile


def losses(
    profile: Profile,
    format: str,
    *,
    metrics: Collection[str] | None = None,
    unit: bool = False,
    lanes: bool = True,
    samples: bool = True,
    edges: bool = True,
    lines: bool = False,
    modules: bool = True,
    counters: bool = True,
) -> tuple[str, ...]:
    """
    The losses of writing `profile` as `format`.

    `metrics` are those that it keeps (None: all). The flags say what is lost where the profile has it: the metric's unit,
    lanes, the timeline, caller-callee pairs, executing lines, modules and code hashes, counters.
    """
    found: list[str] = []
    dropped = [m.name for m in profile.metrics if metrics is not None and m.name not in metrics]
    if dropped:
        found.append(f"{format} holds one metric: {', '.join(dropped)} left out")
    if unit and metrics:
        kept = next(iter(metrics))
        found.append(f"{format} knows no units: the numbers are {kept} in {next(m.unit for m in profile.metrics if m.name == kept)}")
    if lanes and len(profile.lanes) > 1:
        found.append(f"{format} knows no threads or processes: {len(profile.lanes)} lanes added up")
    if samples and len(profile.samples):
        found.append(f"{format} has no timeline: times and states of {len(profile.samples):,} samples left out")
    if edges and len(profile.edges):
        found.append(f"{format} holds stacks: {len(profile.edges):,} caller-callee pairs left out")
    if lines and len(profile.frames) and profile.frames.line.any():
        found.append(f"{format} holds functions: executing lines left out")
    if modules and len(profile.functions) and (profile.functions.module.any() or profile.functions.code_hash.any()):
        found.append(f"{format} holds names and files: modules, categories and code hashes left out")
    if len(profile.intervals):
        found.append(f"{format} has no lifetimes: {len(profile.intervals):,} allocation intervals left out")
    n_points = (len(profile.counters) if counters else 0) + len(profile.markers)
    if n_points:
        found.append(f"{format} has no counters and markers here: {n_points:,} points left out")
    return tuple(found)
