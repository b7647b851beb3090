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
from proftool.model.diff import FLAGGED, VERDICTS, Comparability, Comparable, Diff, FunctionChange, Side, Verdict
from proftool.model.exact import ARENAS_EXCHANGED, compare_exact, exchanged_arenas
from proftool.model.explain import explain
from proftool.model.machine import AGREE, LEAST_SHIFT, UNEXPLAINED, Machine, machine
from proftool.model.match import Matched, match
from proftool.model.preempted import preempted_metric, preempted_share, without_preempted
from proftool.model.profile import Metric, MetricKind, Profile, UInt8Array
from proftool.model.significance import ALPHA, Floats, Tested, Witness
from proftool.model.tree import Tree, function_total, node_function, node_self
from proftool.model.union_profile import union_profile
from proftool.model.within import mean_quantum, sampling_variance, with_calls, within_variance
from proftool.units import NS_PER_S, Unit, people

FLOOR_SHARE = 0.005
RUNS_FOR_TEST = 4
BYTES_FLOOR = 65536
"""An interpreter's own bookkeeping differs by some KiB between two runs of one program."""
ALLOCATIONS_FLOOR = 100
BETWEEN_CV = {"sample": 0.035, "trace": 0.03}
"""By how much runs of one program differ beyond what one run shows of itself, after the common factor."""
LINE_CV = 0.25
"""By how much more runs differ where threads stood in line, as a part of that share of time: whose it was is not known exactly."""
FEWEST_SAMPLES = 8
"""Of one run; with fewer a function is not judged: 8 against 0 is 2.8 standard errors."""
WORKED_TIME = ("wall_time", "cpu_time")
"""Metrics that a slower machine makes larger."""
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
        self.in_line = [0.0] * len(profiles) if part is None else [preempted_share(p, name, part) for p in profiles]
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
        self.is_worked_time = name in WORKED_TIME or name == "samples"
        self.test_values = self.self_values
        self.least = self.floor
        self.speed = np.ones((self.n, len(profiles)))
        self.shift = 0.0
        self.exchanged = np.zeros(self.n, np.bool_)
        self.witness: Witness | None = None
        self.machine: Machine | None = None

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
                totals[:, at] = np.bincount(self.matched.maps[at], total, self.n) * self.scale[at] * self.speed[:, at]
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
            tested = compare_exact(self.self_values, self.n_base)
            if self.weak and self.metric.unit is Unit.BYTES:
                # More runs tell by themselves what changes from one to the next.
                self.exchanged = exchanged_arenas(*self.sides(self.self_values))
                tested = replace(tested, q=np.where(self.exchanged, 1.0, tested.q))
            return tested
        values, steady = self._clock()
        self.test_values = values
        # What sampling met a few times on all runs together cannot be told from chance, so it does not count among the tests either.
        self.least = max(self.floor, FEWEST_SAMPLES * 2 * self._quantum() / len(self.profiles))
        self.machine = machine(self.profiles, self.n_base, self.metric.mode)
        shift, sd = (self.machine.shift, self.machine.sd) if self.is_worked_time else (0.0, 0.0)
        if self.weak:
            base, new = self.sides(values)
            each = zip(self.profiles, self.functions, values.T, self.scale, self.in_line, strict=True)
            variances = [within_variance(*one) for one in each]
            var_base = np.mean(variances[: self.n_base], axis=0) / self.n_base
            var_new = np.mean(variances[self.n_base :], axis=0) / self.n_new
            mode = self.metric.mode if self.metric.mode in BETWEEN_CV else "sample"
            between = float(np.hypot(BETWEEN_CV[mode], LINE_CV * max(self.in_line)))
            pair = np.stack([base, new], axis=1)
            total = max(float(pair.mean(axis=1).sum()), 1e-300)
            share = pair.mean(axis=1) / total
            big = (share >= 0.02) & (share < 0.98)
            noise = (var_base + var_new)[big] / 2 / total**2 / (share * (1 - share))[big] if big.any() else np.full(1, 1e-6)
            self.witness = significance.witness(pair, 1, steady, float(np.median(noise)) + between**2, shift, sd)
            return significance.compare_counts(base, new, var_base, var_new, between, self.least, self.witness)
        noise = significance.share_noise(values[steady], self.n_base)
        beside = self.machine.beside if self.is_worked_time else None
        self.witness = significance.witness(values, self.n_base, steady, noise, shift, sd, beside)
        sampled, quantum = sampling_variance(self.profiles, self.functions, values, self.scale, self.in_line), self._quantum()
        return significance.compare_runs(
            values, self.n_base, floor=self.least, quantum=quantum, sampled=sampled, seed=self.seed, seen=self.witness
        )

    def _clock(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Values to test and which functions work rather than wait: CPU time for these where all runs have it."""
        every = np.ones(self.n, bool)
        if not self.is_worked_time:
            return self.self_values, ~every
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
        return mean_quantum(self.profiles, self.scale) if self.metric.unit is Unit.NANOSECONDS else 0.0

    def answer(self, names: tuple[str, str], comparability: Comparability) -> Diff:
        """The whole `Diff`."""
        tested = self.tested()
        measured = self.sides(self.self_values)
        self._to_one_speed(tested)
        base, new = self.sides(self.self_values)
        profile = union_profile(self.profiles, self.matched, self.union, self.metric, self.n_base, self.scale, self.speed)
        base_total, new_total = self._totals(profile)
        delta = new - base
        # What was tested may be CPU time, and is at one speed of the machine: brought to the size of what is shown.
        test_size = self.test_values.mean(axis=1)
        size = np.where(test_size > 0, (base + new) / 2 / np.maximum(test_size, 1e-300), 1.0) if not self.exact else np.ones(self.n)
        tested_delta, low, high = tested.delta * size, tested.low * size, tested.high * size
        low, high = np.minimum(low, delta), np.maximum(high, delta)
        floor = max(self.floor, 1e-9)
        sure = (
            (tested.q <= self.alpha()) & (np.maximum(base, new) >= self.least) & (np.abs(delta) >= floor) & (np.abs(tested_delta) >= floor)
        )
        sure &= np.sign(delta) == np.sign(tested_delta)
        if not self.exact:
            # A verdict is for all functions together and an interval for one: where they would contradict each other, the verdict rules.
            low = np.where(sure & (delta > 0), np.maximum(low, 0.0), np.where(sure, low, np.minimum(low, 0.0)))
            high = np.where(sure & (delta < 0), np.minimum(high, 0.0), np.where(sure, high, np.maximum(high, 0.0)))
        same_all = bool(np.array_equal(self.self_values[:, 0], self.self_values[:, -1])) and len(self.profiles) == 2
        changes = [
            self._change(i, base, new, base_total, new_total, low, high, tested, bool(sure[i]), floor, same_all) for i in range(self.n)
        ]
        if self.metric.unit is Unit.NANOSECONDS and all(p.has_metric("calls") for p in self.profiles):
            changes = with_calls(changes, *self.sides(self._self("calls")))
        ordered = sorted(changes, key=lambda c: (c.verdict not in FLAGGED, -abs(c.delta_self), -abs(c.delta_total), c.function))
        verdict, certainty = self._nodes(profile, self.union, changes, tested)
        change = float(new.sum() - base.sum())
        explained = sum(c.delta_self for c in changes if c.verdict in FLAGGED)
        result = Diff(
            profile=profile,
            metric=self.metric,
            base=self._side(names[0], 0, self.n_base),
            new=self._side(names[1], self.n_base, len(self.profiles)),
            comparability=replace(
                comparability, reasons=(*comparability.reasons, *self._notes(tested, (float(measured[0].sum()), float(measured[1].sum()))))
            ),
            base_total=float(base.sum()),
            new_total=float(new.sum()),
            functions=tuple(ordered),
            node_verdict=verdict,
            node_certainty=certainty,
            explained_share=explained / change if abs(change) >= floor else None,
        )
        return replace(result, explanation=explain(result))

    def _to_one_speed(self, tested: Tested) -> None:
        """
        Where the machine was slower for one side, bring that side's working time to the speed of the other.

        Two witnesses that do not know of each other must agree: the program's functions moved together, and the probe, which is no part of
        the program, moved alike. A program that became slower in all its functions moves only the first.
        """
        if self.machine is None or self.witness is None or not self.is_worked_time or self.metric.unit is not Unit.NANOSECONDS:
            return
        probed, together = self.machine.probed, tested.together
        if probed is None or abs(together) < LEAST_SHIFT or abs(probed) < max(LEAST_SHIFT, self.machine.sd):
            return
        if not AGREE[0] <= together / probed <= AGREE[1]:
            return
        self.shift = together
        slower = slice(self.n_base, None) if together > 0 else slice(None, self.n_base)
        self.speed[:, slower] = np.where(self.witness.steady, np.exp(-abs(together)), 1.0)[:, None]
        self.self_values = self.self_values * self.speed

    def alpha(self) -> float:
        """The level of a verdict: with four runs a side the best possible p is 0.029."""
        if self.weak or self.exact:
            return 0.05
        return max(ALPHA, 2.001 / significance.comb(len(self.profiles), self.n_base))

    def _notes(self, tested: Tested, measured: tuple[float, float]) -> tuple[str, ...]:
        notes: list[str] = []
        if max(self.in_line) >= IN_LINE_SHARE:
            shares = [100 * float(np.mean(side)) for side in (self.in_line[: self.n_base], self.in_line[self.n_base :])]
            notes.append(f"time in line for a processor is left out: {shares[0]:.0f} % of base's wall time and {shares[1]:.0f} % of new's")
        if self.weak and not self.exact:
            notes.append(f"{self.n_base} against {self.n_new} runs: verdicts are weak; four a side (`--runs 5`) make them firm")
        if self.exchanged.any():
            notes.append(f"{ARENAS_EXCHANGED}: {np.count_nonzero(self.exchanged)} differ, and whose object asks for one is chance")
        if self.shift:
            slow, fast = ("new", "base") if self.shift > 0 else ("base", "new")
            was = " against ".join(people(total, self.metric.unit) for total in measured)
            notes.append(
                f"the machine was {np.exp(abs(self.shift)):.2f} times slower for {slow}, by its probe and by the functions that did not "
                f"change: {slow}'s times are shown at the speed of {fast} (as measured: {was})"
            )
        elif self.machine is not None and self.is_worked_time and abs(tested.together) > UNEXPLAINED:
            more = "record more runs" if self.machine.in_turn else "record both sides in turn (`proftool run --against LABEL`)"
            notes.append(
                f"the functions moved by {100 * np.expm1(tested.together):+.0f} % together, which the machine's probe does not explain: "
                f"to be sure, {more}"
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
        if self.witness is not None and not self.weak and len(chosen) > 1:
            row = np.full(n, -1, np.int64)
            row[chosen] = np.arange(len(chosen))
            values = np.zeros((len(chosen), len(self.profiles)))
            for at, p in enumerate(self.profiles):
                place = row[union.places[at]]
                held = place >= 0
                values[:, at] = np.bincount(place[held], node_self(p, p.metric_index(self.name))[held], len(chosen)) * self.scale[at]
            own = significance.compare_runs(
                values, self.n_base, quantum=self._quantum(), seed=self.seed, seen=self.witness, rows=union.label[chosen].astype(np.int64)
            )
            q = np.maximum(q, own.q)
        sure = q <= self.alpha()
        verdict[chosen[sure]] = of_function[union.label[chosen[sure]]]
        certainty[chosen] = (1 - q).astype(np.float32)
        return verdict, certainty
