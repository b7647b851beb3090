"""Time in line for a processor: taken off wall time in a diff, never off what a recording holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from model.sides import by_name, flagged

from proftool.model.builder import ProfileBuilder
from proftool.model.compare import diff
from proftool.model.preempted import preempted_metric, preempted_share, without_preempted
from proftool.model.profile import PREEMPTED_TIME, ROOT, WALL_TIME, Profile
from proftool.model.tree import function_self, function_total

MS = 1_000_000
WORK_MS = {"transform": 200, "parse": 100, "render": 60}


def run(line_ms: dict[str, int], *, mode: str = "sample", known: bool = True, **work_ms: int) -> Profile:
    """One run whose functions worked as told, and stood in line as told."""
    metrics = [WALL_TIME, PREEMPTED_TIME] if known else [WALL_TIME]
    builder = ProfileBuilder([replace(m, mode=mode) for m in metrics])
    lane = builder.lane()
    for name, own_ms in {**WORK_MS, **work_ms}.items():
        function = builder.function(name, module="app", file="app.py")
        node = builder.node(ROOT, builder.frame(function))
        wall_ns, line_ns = (own_ms + line_ms.get(name, 0)) * MS, line_ms.get(name, 0) * MS
        builder.add(node, lane, 0, wall_ns)
        if known:
            builder.add(node, lane, 1, line_ns)
        if mode == "trace":
            builder.edge(ROOT, function, lane, calls=1, primitive_calls=1, self_ns=wall_ns, total_ns=wall_ns)
    return builder.build()


def test_a_busy_machine_changes_no_value() -> None:
    """Twice the wall time, all of it in line: the two sides are equal to the nanosecond, and the diff says what it left out."""
    base = [run({}) for _ in range(4)]
    new = [run({"transform": 250, "parse": 90, "render": 20 + i}) for i in range(4)]
    found = diff(base, new)
    assert found.base_total == found.new_total == 360 * MS
    assert not flagged(found)
    assert all(change.delta_self == change.delta_total == 0 for change in found.functions)
    assert any("in line for a processor" in reason and "50 % of new" in reason for reason in found.comparability.reasons)


def test_a_change_is_found_at_its_size_where_the_base_stood_in_line() -> None:
    """30 % more work, though the base's wall time is the longer one."""
    base = [run({"transform": 300 + i, "parse": 200}) for i in range(4)]
    new = [run({"render": i}, transform=260) for i in range(4)]
    found = diff(base, new)
    change = by_name(found)["transform"]
    assert flagged(found) == {"transform": "slower"}
    assert (change.base_self, change.new_self) == (200 * MS, 260 * MS)
    assert found.new_total - found.base_total == 60 * MS


def test_it_stays_in_where_one_run_does_not_know_it() -> None:
    """A value with and one without it are not set against each other."""
    base, new = run({"transform": 100}), run({}, known=False)
    assert preempted_metric([base, new], "wall_time") is None
    assert by_name(diff([base], [new]))["transform"].base_self == 300 * MS


@pytest.mark.parametrize("name", ["cpu_time", "waiting_time", "preempted_time", "calls"])
def test_only_wall_time_is_lowered(name: str) -> None:
    """Other metrics hold none of it."""
    assert preempted_metric([run({})], name) is None


def test_the_line_itself_can_be_compared() -> None:
    """`--metric preempted_time` says by function who stood in line."""
    found = diff([run({"parse": 10})], [run({"parse": 50})], metric="preempted_time")
    assert by_name(found)["parse"].delta_self == 40 * MS


def test_measured_totals_go_down_with_their_lane_and_never_below_self() -> None:
    """Caller-callee pairs: total of a leaf is its self value still."""
    profile = run({"transform": 120, "parse": 60}, mode="trace")
    lowered = without_preempted(profile, "wall_time", "preempted_time")
    own, total = function_self(lowered, 0), function_total(lowered, 0)
    assert preempted_share(profile, "wall_time", "preempted_time") == pytest.approx(180 / 540)
    assert own.tolist() == [200 * MS, 100 * MS, 60 * MS]
    assert (total >= own).all()
    assert (total <= function_total(profile, 0)).all()
