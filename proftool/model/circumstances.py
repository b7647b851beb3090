"""The circumstances of several recordings as those of one: what agrees stands, what differs is unknown, notes add up.

Every rule is associative and commutative (notes up to their order), so that children may be merged in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TypeVar

from proftool.model.meta import Collector, Meta, Pass, Quality, Speed

V = TypeVar("V")
N = TypeVar("N", int, float)
_VERDICTS = ("good", "weak", "poor")


def merged_meta(metas: Sequence[Meta]) -> Meta:
    """Recordings of one kind: passes of the same mode and backend become one."""
    groups: dict[tuple[str, str], list[Pass]] = {}
    for recorded in (recorded for meta in metas for recorded in meta.passes):
        groups.setdefault((recorded.mode, recorded.backend), []).append(recorded)
    return replace(side_by_side(metas), passes=tuple(_merged_pass(group) for group in groups.values()))


def side_by_side(metas: Sequence[Meta]) -> Meta:
    """Passes of one run: all of them stand, in order."""
    return Meta(
        passes=tuple(recorded for meta in metas for recorded in meta.passes),
        command=_same(meta.command for meta in metas),
        cwd=_same(meta.cwd for meta in metas),
        project_root=_same(meta.project_root for meta in metas),
        python=_same(meta.python for meta in metas),
        host=_same(meta.host for meta in metas),
        machine=_same(meta.machine for meta in metas),
        git=_same(meta.git for meta in metas),
        quality=_worst(meta.quality for meta in metas),
        lost=_union(meta.lost for meta in metas),
        reconstructed=any(meta.reconstructed for meta in metas),
        source=_same(meta.source for meta in metas),
        sources=_union(meta.sources for meta in metas),
    )


def _merged_pass(passes: Sequence[Pass]) -> Pass:
    if len(passes) == 1:
        return passes[0]
    return Pass(
        mode=passes[0].mode,
        backend=passes[0].backend,
        backend_version=_same(p.backend_version for p in passes),
        clock=_same(p.clock for p in passes),
        rate_asked_hz=_same(p.rate_asked_hz for p in passes),
        rate_kept_hz=_known(min, (p.rate_kept_hz for p in passes)),
        rate_achieved_hz=_known(min, (p.rate_achieved_hz for p in passes)),
        weighed_by_time=all(p.weighed_by_time for p in passes),
        visit_error_ns=None if any(p.visit_error_ns is None for p in passes) else _known(max, (p.visit_error_ns for p in passes)),
        samples=_sum(p.samples for p in passes),
        missed=_sum(p.missed for p in passes),
        errors=_sum(p.errors for p in passes),
        overhead_ns=_sum(p.overhead_ns for p in passes),
        started_ns=_known(min, (p.started_ns for p in passes)),
        duration_ns=_known(max, (p.duration_ns for p in passes)),
        cpu_ns=_sum(p.cpu_ns for p in passes),
        exit_status=_known(max, (p.exit_status for p in passes)),
        features=tuple(sorted(set(_union(p.features for p in passes)))),
        unseen=_union(p.unseen for p in passes),
        notes=_union(p.notes for p in passes),
        complete=_complete(p.complete for p in passes),
        attached=any(p.attached for p in passes),
        speed=_slowest([p.speed for p in passes if p.speed is not None]),
        collector=collected([p.collector for p in passes if p.collector is not None]),
    )


def _same(values: Iterable[V | None]) -> V | None:
    known = list(values)
    return known[0] if known and all(value == known[0] for value in known) else None


def _sum(values: Iterable[int | None]) -> int | None:
    """A sum with an unknown part is unknown."""
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _known(choose: Callable[[list[N]], N], values: Iterable[N | None]) -> N | None:
    known = [value for value in values if value is not None]
    return choose(known) if known else None


def _union(parts: Iterable[tuple[V, ...]]) -> tuple[V, ...]:
    return tuple(dict.fromkeys(value for part in parts for value in part))


def _complete(values: Iterable[bool | None]) -> bool | None:
    known = set(values)
    return False if False in known else None if None in known else True


def _worst(values: Iterable[Quality | None]) -> Quality | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    worst = max(known, key=lambda quality: _VERDICTS.index(quality.verdict))
    return Quality(verdict=worst.verdict, reasons=_union(quality.reasons for quality in known))


def collected(parts: Sequence[Collector]) -> Collector | None:
    """The collector's time of several processes or runs; None where nobody looked."""
    if not parts:
        return None
    lines: dict[tuple[str, int, str], tuple[int, int]] = {}
    for file, line, name, cpu_ns, runs in (entry for part in parts for entry in part.lines):
        before = lines.get((file, line, name), (0, 0))
        lines[file, line, name] = before[0] + cpu_ns, before[1] + runs
    dearest = sorted(((*key, *values) for key, values in lines.items()), key=lambda entry: -entry[3])
    runs = zip_longest(*(part.runs for part in parts), fillvalue=0)
    return Collector(cpu_ns=sum(part.cpu_ns for part in parts), runs=tuple(map(sum, runs)), lines=tuple(dearest))


def _slowest(speeds: Sequence[Speed]) -> Speed | None:
    if not speeds:
        return None
    return Speed(
        before_ns=_known(max, (s.before_ns for s in speeds)),
        after_ns=_known(max, (s.after_ns for s in speeds)),
        during_ns=_known(max, (s.during_ns for s in speeds)),
        load=_known(max, (s.load for s in speeds)),
        steal_share=_known(max, (s.steal_share for s in speeds)),
        throttled_ns=_sum(s.throttled_ns for s in speeds),
    )
