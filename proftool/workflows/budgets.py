"""`gate --budgets`: measure what the project's budgets name, and hold it to them."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from proftool.bench import budgets, checkouts
from proftool.bench.budgets import LOOKS, Budget, Kept, Limit, Outcome
from proftool.bench.checkouts import Setting
from proftool.bench.processes import Side, Value, measure, measure_command, measure_import
from proftool.contracts import Mode
from proftool.errors import UsageError
from proftool.model.tree import metric_total
from proftool.settings import nearest
from proftool.workflows.bench import Asked, Say, ab, here, words_of, work_of
from proftool.workflows.causes import recorded

N_ALLOCATION_RUNS = 2
_SLACK = 0.001
"""Allocations of a deterministic program differ by less."""


def load(cwd: Path) -> list[Budget]:
    """The budgets of the nearest pyproject.toml."""
    file = nearest(cwd, "pyproject.toml")
    tables: Any = tomllib.loads(file.read_text("utf-8")).get("tool", {}).get("proftool", {}).get("budgets", {}) if file else {}
    if not isinstance(tables, dict) or not tables:
        raise UsageError(
            "there are no budgets",
            cause=f"`{file}` has no [tool.proftool.budgets]" if file else "there is no pyproject.toml here",
            fix='write for example [tool.proftool.budgets.start] with `import = "shop"` and `time = "120ms"`',
        )
    return budgets.parse(tables)  # pyright: ignore[reportUnknownArgumentType]  # parse checks every row


def check(names: Sequence[str], *, python: Path, say: Say) -> list[Kept]:
    """Hold the named budgets, or all, to what is measured now."""
    every = load(Path.cwd())
    unknown = [name for name in names if name not in {one.name for one in every}]
    if unknown:
        raise UsageError(
            f"no budget `{unknown[0]}`", cause="pyproject.toml has no such table", fix=f"known are: {', '.join(b.name for b in every)}"
        )
    found: list[Kept] = []
    for budget in every:
        if not names or budget.name in names:
            found += _against(budget, python, say) if budget.against else _absolute(budget, python, say)
    return found


def document(found: Sequence[Kept]) -> dict[str, object]:
    """The answer for programs."""
    return {
        "schema": "proftool.budgets/1",
        "budgets": [
            {
                "name": one.budget.name,
                one.budget.kind: one.budget.subject,
                "against": one.budget.against,
                "quantity": one.limit.quantity,
                "unit": str(budgets.UNITS[one.limit.quantity]),
                "limit": one.limit.most,
                "relative": one.limit.relative,
                "measured": one.measured,
                "interval": None if one.interval is None else list(one.interval),
                "n": one.n,
                "outcome": str(one.outcome),
            }
            for one in found
        ],
    }


def _absolute(budget: Budget, python: Path, say: Say) -> list[Kept]:
    side = here(python)
    once = _runner(budget, side)
    values: list[Value] = []
    open_limits = [limit for limit in budget.limits if limit.quantity != "allocations"]
    found: dict[Limit, Kept] = {}
    order = random.Random(0)
    for look in LOOKS if open_limits else ():
        while len(values) < look:
            values.append(once(order.randrange(1, 1 << 32)))
            say(f"{budget.name}: process {len(values)} of at most {LOOKS[-1]}")
        for limit in open_limits:
            own = [_of(value, limit.quantity) for value in values]
            outcome = budgets.judge_absolute(own, limit.most)
            found[limit] = Kept(budget=budget, limit=limit, outcome=outcome, measured=float(np.median(own)), n=len(own))
        open_limits = [limit for limit in open_limits if found[limit].outcome is Outcome.INCONCLUSIVE]
        if not open_limits:
            break
    for limit in budget.limits:
        if limit.quantity == "allocations":
            counted = [_allocations(budget, side) for _ in range(N_ALLOCATION_RUNS)]
            outcome = Outcome.PASS if max(counted) <= limit.most else Outcome.FAIL if min(counted) > limit.most else Outcome.INCONCLUSIVE
            found[limit] = Kept(budget=budget, limit=limit, outcome=outcome, measured=float(np.median(counted)), n=len(counted))
    return [found[limit] for limit in budget.limits]


def _runner(budget: Budget, side: Side) -> Callable[[int], Value]:
    if budget.kind == "command":
        words = words_of(budget.command, side)
        return lambda seed: measure_command(side, words, seed=seed)
    if budget.kind == "import":
        measure_import(side, budget.subject, seed=1)  # its bytecode is written once
        return lambda seed: measure_import(side, budget.subject, seed=seed)
    file, _, name = budget.subject.partition("::")
    loops = measure(side, Path(file), name, seed=1).loops
    return lambda seed: measure(side, Path(file), name, seed=seed, loops=loops)


def _of(value: Value, quantity: str) -> float:
    return float(value.peak_bytes) if quantity == "peak" else value.cpu_ns if quantity == "cpu" else value.wall_ns


def _allocations(budget: Budget, side: Side) -> float:
    """Per run of a command, or per call of a benchmark."""
    if budget.kind == "command":
        argv, runs = words_of(budget.command, side), 1
    else:
        file, _, name = budget.subject.partition("::")
        work = work_of(side, Path(file), name, measure(side, Path(file), name, seed=1))
        argv, runs = list(work.traced), work.traced_runs
    profile = recorded(argv, side, seed=1, mode=Mode.MEMORY)
    return metric_total(profile, profile.metric_index("allocations")) / runs


def _against(budget: Budget, python: Path, say: Say) -> list[Kept]:
    assert budget.against
    found: list[Kept] = []
    for limit in budget.limits:
        if limit.quantity == "allocations":
            found.append(_allocations_against(budget, limit, python))
            continue
        clock: Literal["cpu", "wall"] = "wall" if limit.quantity == "time" else "cpu"
        answer = ab(_asked(budget, python, clock, "peak" if limit.quantity == "peak" else "time"), say=say).answers[0]
        low, high = answer.found.low, answer.found.high
        outcome = budgets.judge_relative(low, high, limit.most)
        found.append(
            Kept(
                budget=budget, limit=limit, outcome=outcome, measured=answer.found.ratio - 1, n=len(answer.base_ns),
                interval=(low - 1, high - 1),
            )
        )  # fmt: skip
    return found


def _asked(budget: Budget, python: Path, clock: Literal["cpu", "wall"], quantity: Literal["time", "peak"]) -> Asked:
    return Asked(
        base=budget.against or "",
        command=budget.command if budget.kind == "command" else None,
        only=budget.subject if budget.kind == "bench" else None,
        settings=(Setting(python=python), Setting(python=python)),
        clock=clock,
        quantity=quantity,
        with_causes=False,
    )


def _allocations_against(budget: Budget, limit: Limit, python: Path) -> Kept:
    setting = Setting(python=python)
    with checkouts.sides(Path.cwd(), budget.against or "", None, settings=(setting, setting)) as (old, new):
        counted = [(_allocations(budget, old), _allocations(budget, new)) for _ in range(N_ALLOCATION_RUNS)]
    ratios = [after / max(before, 1) for before, after in counted]
    low, high = min(ratios) - _SLACK, max(ratios) + _SLACK
    return Kept(
        budget=budget,
        limit=limit,
        outcome=budgets.judge_relative(low, high, limit.most),
        measured=float(np.median(ratios)) - 1,
        n=len(ratios),
        interval=(low - 1, high - 1),
    )
