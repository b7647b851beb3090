"""Two sides of runs in, one `Diff` out: match, put on one exposure, keep both values, decide, explain.

Values are means per unit of exposure. `Σ delta_self = Δtotal`, and `compare(b, a)` is the mirror of `compare(a, b)`. The statistics
(significance.py) only ever decide how sure a difference is, never how large it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from proftool.errors import NotComparable
from proftool.model import significance
from proftool.model.align import Union, align
from proftool.model.comparable import choose_metric, judge_comparable, metric_of, passes_of
from proftool.model.diff import VERDICTS, Comparability, Comparable, Diff, FunctionChange, Side, Verdict
from proftool.model.explain import explain
from proftool.model.match import Matched, match
from proftool.model.preempted import preempted_metric, preempted_share, without_preempted
from proftool.model.profile import Metric, MetricKind, Profile, UInt8Array
from proftool.model.significance import ALPHA, Floats, Tested
from proftool.model.tree import Tree, function_total, node_function, node_self
from proftool.model.union_profile import union_profile
from proftool.units import NS_PER_S, Unit

FLOOR_SHARE = 0.005
RUNS_FOR_TEST = 4
BYTES_FLOOR = 65536
"""An interpreter's own bookkeeping differs by some KiB between two runs of one program."""
ALLOCATIONS_FLOOR = 100
BETWEEN_CV = {"sample": 0.035, "trace": 0.08}
"""By how much runs of one program differ beyond what one run shows of itself, after the common factor."""
IN_LINE_SHARE = 0.02
"""From here on it is said how long the threads stood in line for a processor."""
WAITS = 0.2
"""A function that waits for more than this part of its time is judged by wall time."""


def diff(
    base: Sequence[Profile],
    new: Sequence[Profile],
    *,
    metric: str | None = None,
    floor_share: float = FLOOR_SHARE,
    names: tuple[str, str] = ("base", "new"),
    force: bool = False,
    seed: int = 0,
) -> Diff:
    """
    What changed from base to new, each of one run or several.

    Args:
        floor_share: changes below this part of the total are never flagged.
        force: answer though the sides are not comparable; possible where they share a metric.

    Raises:
        NotComparable: the sides measure different things.
    """
    if not base or not new:
        raise NotComparable("nothing to compare", cause="a side has no run", fix="`proftool list` shows the runs there are")
    comparability = judge_comparable(base, new, metric)
    name = choose_metric(base, new, metric)
    if name is None or (comparability.verdict is Comparable.REFUSED and not force):
        raise NotComparable(
            f"`{names[0]}` and `{names[1]}` are not comparable",
            cause="; ".join(comparability.reasons),
            fix="compare runs recorded alike, or name another `--metric`" + ("" if name is None else "; `--force` compares nevertheless"),
        )
    return _Comparison((*base, *new), len(base), name, floor_share, seed).answer(names, comparability)


class _Comparison:
    """One comparison in work; base runs come first in every axis of runs."""

    def __init__(self, profiles: Sequence[Profile], n_base: int, name: str, floor_share: float, seed: int) -> None:
        part = preempted_metric(profiles, name)
        self.in_line = [] if part is None else [preempted_share(p, name, part) for p in profiles]
        if part is not None:
            profiles = [without_preempted(p, name, part) for p in profiles]
        self.profiles, self.n_base, self.name, self.seed = profiles, n_base, name, seed
        self.metric: Metric = metric_of(profiles[0], name)
        self.matched: Matched = match(profiles[:n_base], profiles[n_base:])
        self.n = len(self.matched.names)
        self.functions = [place[node_function(p)] for p, place in zip(profiles, self.matched.maps, strict=True)]
        self.scale = self._exposure()
        self.trees = [Tree.of(p) for p in profiles]
        self.self_values = self._self(name)
        self.n_new = len(profiles) - n_base
        self.union: Union = align(self.trees, self.functions)
        whole = self.self_values.sum(axis=0)
        self.floor = floor_share * max(float(whole[:n_base].mean()), float(whole[n_base:].mean()))
        if self.metric.unit is Unit.BYTES:
            self.floor = max(self.floor, float(BYTES_FLOOR))
        elif name in ("allocations", "temporary_allocations"):
            self.floor = max(self.floor, float(ALLOCATIONS_FLOOR))
        self.weak = min(n_base, self.n_new) < RUNS_FOR_TEST
        self.exact = self.metric.unit is not Unit.NANOSECONDS and name != "samples"
        self.factors: Floats | None = None

    def _exposure(self) -> list[float]:
        """Factor from a run's value to one unit: 1 for a finished program, 1/seconds for an observed one."""
        if self.metric.kind is not MetricKind.FLOW:
            return [1.0] * len(self.profiles)
        passes = [passes_of(p, self.name) for p in self.profiles]
        seconds = [own[0].duration_ns if own and own[0].attached else None for own in passes]
        if any(value is None or value <= 0 for value in seconds):
            return [1.0] * len(self.profiles)
        return [NS_PER_S / value for value in seconds if value]

    def _self(self, name: str) -> Floats:
        result = np.zeros((self.n, len(self.profiles)))
        for at, p in enumerate(self.profiles):
            values = node_self(p, p.metric_index(name))
            result[:, at] = np.bincount(self.functions[at], values, self.n) * self.scale[at]
        return result

    def _totals(self, built: Profile) -> tuple[Floats, Floats]:
        """Means per function with callees: measured pairs where profiles hold these, else from the union tree of both sides."""
        if any(len(p.edges) and metric_of(p, self.name).mode == "trace" for p in self.profiles):
            totals = np.zeros((self.n, len(self.profiles)))
            for at, p in enumerate(self.profiles):
                total = function_total(p, p.metric_index(self.name), self.trees[at])
                totals[:, at] = np.bincount(self.matched.maps[at], total, self.n) * self.scale[at]
            return self.sides(totals)
        tree = Tree.of(built)
        outermost = tree.outermost(self.union.label)
        label = self.union.label[outermost]
        sides = [np.bincount(label, tree.total(node_self(built, side))[outermost], self.n).astype(np.float64) for side in (0, 1)]
        return sides[0], sides[1]

    def sides(self, values: Floats) -> tuple[Floats, Floats]:
        """Means of base and of new."""
        weights = np.zeros((len(self.profiles), 2))
        weights[: self.n_base, 0], weights[self.n_base :, 1] = 1 / self.n_base, 1 / self.n_new
        means: Floats = values @ weights
        return means[:, 0], means[:, 1]

    def tested(self) -> Tested:
        """How sure each function's difference is, in the clock that disturbs least."""
        if self.exact:
            return self._exact(self.self_values)
        values, steady = self._clock()
        quantum = self._quantum()
        if self.weak:
            base, new = self.sides(values)
            variances = [self._within(at, values[:, at]) for at in range(len(self.profiles))]
            var_base = np.mean(variances[: self.n_base], axis=0) / self.n_base
            var_new = np.mean(variances[self.n_base :], axis=0) / self.n_new
            mode = self.metric.mode if self.metric.mode in BETWEEN_CV else "sample"
            between = max(BETWEEN_CV[mode], self._speed_cv())
            factors = self._factors(np.stack([base, new], axis=1), 1, steady, quantum)
            return significance.compare_counts(base, new, var_base, var_new, between, self.floor, factors)
        self.factors = self._factors(values, self.n_base, steady, quantum)
        return significance.compare_runs(values, self.n_base, floor=self.floor, quantum=quantum, seed=self.seed, factor=self.factors)

    def _factors(self, values: Floats, n_base: int, steady: NDArray[np.bool_], quantum: float) -> Floats:
        """Each run's common factor for each function; waiting does not go with the machine's speed."""
        weights = np.where(steady, values.mean(axis=1), 0.0)
        factors = significance.refined_factor(values, n_base, significance.common_factor(values, weights), weights, quantum)
        factors[~steady] = 1.0
        return factors

    def _clock(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Values to test and which functions work rather than wait: CPU time for these where all runs have it."""
        every = np.ones(self.n, bool)
        if self.name != "wall_time":
            return self.self_values, every
        if all(p.has_metric("waiting_time") for p in self.profiles):
            waiting = self._self("waiting_time").sum(axis=1)
            every = waiting <= WAITS * self.self_values.sum(axis=1)
        if not all(p.has_metric("cpu_time") and metric_of(p, "cpu_time").mode == self.metric.mode for p in self.profiles):
            return self.self_values, every
        cpu = self._self("cpu_time")
        if not cpu.sum(axis=0).all():
            return self.self_values, every
        # Under load everything gets less CPU than wall time; a function that gets far less than the rest waits.
        share = cpu.sum() / max(float(self.self_values.sum()), 1.0)
        works = every & (cpu.sum(axis=1) >= 0.5 * min(share, 1.0) * self.self_values.sum(axis=1))
        return np.where(works[:, None], cpu, self.self_values), works

    def _quantum(self) -> float:
        weights = [float(np.median(p.samples.weight)) * scale for p, scale in zip(self.profiles, self.scale, strict=True) if len(p.samples)]
        return float(np.mean(weights)) if weights and self.metric.unit is Unit.NANOSECONDS else 0.0

    def _within(self, at: int, values: Floats) -> Floats:
        """Variance of each function's value that the run itself shows: how often sampling met it anew, spread over time blocks."""
        samples = self.profiles[at].samples
        if not len(samples):
            return (0.05 * values) ** 2
        order = np.lexsort((samples.time_ns, samples.lane))
        function, lane = self.functions[at][samples.node[order]], samples.lane[order]
        fresh = np.ones(len(function), bool)
        fresh[1:] = (function[1:] != function[:-1]) | (lane[1:] != lane[:-1])
        visits = np.bincount(function[fresh], minlength=self.n)
        quantum = float(np.median(samples.weight)) * self.scale[at]
        return np.maximum(visits, 1) * quantum**2 * significance.over_dispersion(samples.time_ns[order][fresh], function[fresh])

    def _speed_cv(self) -> float:
        """How far the machine's speed changed around and between the runs, by the probes."""
        probes = [v for p in self.profiles for own in p.meta.passes if own.speed for v in (own.speed.before_ns, own.speed.after_ns) if v]
        return 0.0 if len(probes) < 2 else 0.2 * float(np.std(np.log(probes)))

    def _exact(self, values: Floats) -> Tested:
        """Counts and bytes: what repeats identically is certain, what varies must lie apart in all runs."""
        base, new = values[:, : self.n_base], values[:, self.n_base :]
        constant = (np.ptp(base, axis=1) == 0) & (np.ptp(new, axis=1) == 0)
        apart = (base.max(axis=1) < new.min(axis=1)) | (new.max(axis=1) < base.min(axis=1))
        chance = 2 / significance.comb(len(self.profiles), self.n_base)
        q = np.where(apart, np.where(constant, 0.0, chance), 1.0)
        delta = new.mean(axis=1) - base.mean(axis=1)
        zero = np.zeros(len(delta))
        return Tested(delta, zero, q, zero, new.min(axis=1) - base.max(axis=1), new.max(axis=1) - base.min(axis=1))

    def answer(self, names: tuple[str, str], comparability: Comparability) -> Diff:
        """The whole `Diff`."""
        base, new = self.sides(self.self_values)
        profile = union_profile(self.profiles, self.matched, self.union, self.metric, self.n_base, self.scale)
        base_total, new_total = self._totals(profile)
        tested = self.tested()
        delta = new - base
        # The drift of the others widens towards no change: as far as the machine explains it, nothing is claimed.
        moved = 2 * np.sinh(tested.drift / 2) * np.sqrt(base * new)
        low, high = delta + (tested.low - tested.delta), delta + (tested.high - tested.delta)
        low, high = np.minimum(low - np.maximum(moved, 0), delta), np.maximum(high - np.minimum(moved, 0), delta)
        alpha = self.alpha()
        floor = max(self.floor, 1e-9)
        sure = (tested.q <= alpha) & (np.abs(delta) >= floor) & (np.abs(tested.delta) >= floor) & (np.sign(delta) == np.sign(tested.delta))
        sure &= np.abs(tested.delta) >= 0.15 * np.abs(tested.drift) * np.maximum(base, new)
        same_all = bool(np.array_equal(self.self_values[:, 0], self.self_values[:, -1])) and len(self.profiles) == 2
        changes = [
            self._change(i, base, new, base_total, new_total, low, high, tested, bool(sure[i]), floor, same_all) for i in range(self.n)
        ]
        changes = self._with_calls(changes)
        ordered = sorted(changes, key=lambda c: (c.verdict not in FLAGGED, -abs(c.delta_self), -abs(c.delta_total), c.function))
        verdict, certainty = self._nodes(profile, self.union, changes, tested)
        change = float(new.sum() - base.sum())
        explained = sum(c.delta_self for c in changes if c.verdict in FLAGGED)
        result = Diff(
            profile=profile,
            metric=self.metric,
            base=self._side(names[0], 0, self.n_base),
            new=self._side(names[1], self.n_base, len(self.profiles)),
            comparability=_with_notes(comparability, self._notes(tested)),
            base_total=float(base.sum()),
            new_total=float(new.sum()),
            functions=tuple(ordered),
            node_verdict=verdict,
            node_certainty=certainty,
            explained_share=explained / change if abs(change) >= floor else None,
        )
        return replace(result, explanation=explain(result))

    def alpha(self) -> float:
        """The level of a verdict: with four runs a side the best possible p is 0.029."""
        if self.weak or self.exact:
            return 0.05
        return max(ALPHA, 2.001 / significance.comb(len(self.profiles), self.n_base))

    def _notes(self, tested: Tested) -> tuple[str, ...]:
        notes: list[str] = []
        if self.in_line and max(self.in_line) >= IN_LINE_SHARE:
            shares = [100 * float(np.mean(side)) for side in (self.in_line[: self.n_base], self.in_line[self.n_base :])]
            notes.append(f"time in line for a processor is left out: {shares[0]:.0f} % of base's wall time and {shares[1]:.0f} % of new's")
        if self.weak and not self.exact:
            notes.append(f"{self.n_base} against {self.n_new} runs: verdicts are weak; four a side (`--runs 5`) make them firm")
        drift = float(np.median(tested.drift[self.self_values.sum(axis=1) > 0])) if self.n else 0.0
        if abs(drift) > 0.02:
            notes.append(
                f"all functions moved by {100 * np.expm1(drift):+.0f} % together: taken for the machine, intervals are widened by it"
            )
        return tuple(notes)

    def _side(self, name: str, low: int, high: int) -> Side:
        metas = tuple(p.meta for p in self.profiles[low:high])
        per_second = any(scale != 1.0 for scale in self.scale[low:high])
        exposure = sum(1 / scale for scale in self.scale[low:high]) if per_second else float(high - low)
        return Side(name=name, metas=metas, exposure=exposure)

    def _change(
        self,
        i: int,
        base: Floats,
        new: Floats,
        base_total: Floats,
        new_total: Floats,
        low: Floats,
        high: Floats,
        tested: Tested,
        sure: bool,
        floor: float,
        identical: bool,
    ) -> FunctionChange:
        delta = float(new[i] - base[i])
        moved = self.matched.moved_from.get(i)
        small = max(base[i], new[i]) < floor
        if sure and not self.matched.in_base[i]:
            verdict = Verdict.NEW
        elif sure and not self.matched.in_new[i]:
            verdict = Verdict.GONE
        elif sure:
            time = self.metric.unit is Unit.NANOSECONDS
            verdict = (Verdict.SLOWER if time else Verdict.MORE) if delta > 0 else (Verdict.FASTER if time else Verdict.LESS)
        elif moved and max(base_total[i], new_total[i], base[i], new[i]) >= floor:
            verdict = Verdict.MOVED
        elif not small and not self.exact and not identical and (high[i] >= floor or low[i] <= -floor):
            verdict = Verdict.INCONCLUSIVE
        else:
            verdict = Verdict.SAME
        return FunctionChange(
            function=i,
            base_self=float(base[i]),
            new_self=float(new[i]),
            base_total=float(base_total[i]),
            new_total=float(new_total[i]),
            low=float(low[i]),
            high=float(high[i]),
            q=float(min(max(tested.q[i], 0.0), 1.0)),
            verdict=verdict,
            weak=self.weak and not self.exact,
            moved_from=moved,
        )

    def _with_calls(self, changes: list[FunctionChange]) -> list[FunctionChange]:
        """Δ = more calls × mean cost + dearer calls × mean calls, where a pass counted calls; the parts add up exactly."""
        if self.metric.unit is not Unit.NANOSECONDS or not all(p.has_metric("calls") for p in self.profiles):
            return changes
        base, new = self.sides(self._self("calls"))
        result: list[FunctionChange] = []
        for c in changes:
            n0, n1 = float(base[c.function]), float(new[c.function])
            if n0 > 0 and n1 > 0:
                more = (n1 - n0) * (c.base_self / n0 + c.new_self / n1) / 2
                c = replace(c, more_calls=more, dearer_calls=c.delta_self - more)
            elif n0 > 0 or n1 > 0:
                c = replace(c, more_calls=c.delta_self, dearer_calls=0.0)
            result.append(c)
        return result

    def _nodes(
        self, profile: Profile, union: Union, changes: Sequence[FunctionChange], tested: Tested
    ) -> tuple[UInt8Array, NDArray[np.float32]]:
        """A node is judged where its own change passes the floor, by max-T over such nodes, inside functions that are flagged."""
        n = len(union.parent)
        verdict = np.full(n, VERDICTS.index(Verdict.SAME), np.uint8)
        certainty = np.zeros(n, np.float32)
        of_function = np.zeros(self.n, np.uint8)
        for c in changes:
            of_function[c.function] = VERDICTS.index(c.verdict)
        flagged = np.isin(of_function, [VERDICTS.index(v) for v in FLAGGED])
        before, after = node_self(profile, 0), node_self(profile, 1)
        delta = (after - before).astype(float)
        sign = np.sign(np.bincount(union.label, delta, self.n))
        chosen = np.flatnonzero(flagged[union.label] & (np.abs(delta) >= self.floor) & (np.sign(delta) == sign[union.label]))
        if not len(chosen):
            return verdict, certainty
        q = tested.q[union.label[chosen]]
        if self.factors is not None and len(chosen) > 1:
            row = np.full(n, -1, np.int64)
            row[chosen] = np.arange(len(chosen))
            values = np.zeros((len(chosen), len(self.profiles)))
            for at, p in enumerate(self.profiles):
                place = row[union.places[at]]
                held = place >= 0
                values[:, at] = np.bincount(place[held], node_self(p, p.metric_index(self.name))[held], len(chosen)) * self.scale[at]
            own = significance.compare_runs(
                values, self.n_base, quantum=self._quantum(), seed=self.seed, factor=self.factors[union.label[chosen]]
            )
            q = np.maximum(q, own.q)
        sure = q <= self.alpha()
        verdict[chosen[sure]] = of_function[union.label[chosen[sure]]]
        certainty[chosen] = (1 - q).astype(np.float32)
        return verdict, certainty


FLAGGED: frozenset[Verdict] = frozenset({Verdict.SLOWER, Verdict.FASTER, Verdict.MORE, Verdict.LESS, Verdict.NEW, Verdict.GONE})
"""Verdicts that claim a change."""


def _with_notes(comparability: Comparability, notes: tuple[str, ...]) -> Comparability:
    return replace(comparability, reasons=(*comparability.reasons, *notes))
