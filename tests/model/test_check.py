"""Every rule of the model is held: break one column of a valid profile and `checked` names table and rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from proftool.errors import ModelError
from proftool.model.builder import ProfileBuilder, finish, table, with_tables
from proftool.model.check import checked
from proftool.model.profile import CALLS, TABLES, WAITING_TIME, WALL_TIME, Nodes, Profile


def valid() -> Profile:
    """main -> f on two lanes, with a row in every table."""
    builder = ProfileBuilder((WALL_TIME, WAITING_TIME, CALLS))
    lanes = [builder.lane(pid=1, tid=tid, start_ns=5, end_ns=9) for tid in (1, 2)]
    main, f = builder.function("main"), builder.function("f")
    top = builder.node(-1, builder.frame(main, 1))
    nodes = [builder.node(top, builder.frame(f, line)) for line in (2, 3)]
    for lane in lanes:
        for node in nodes:
            builder.add(node, lane, 0, 10)
            builder.add(node, lane, 1, 10)
            builder.add(node, lane, 2, 1)
    for time in (1, 2):
        builder.sample(time, lanes[0], nodes[0], 5)
        builder.interval(nodes[0], lanes[0], time, time + 5, 8, 1)
        builder.counter("rss", time, 100)
        builder.marker("gc", time, time + 1)
        builder.edge(main, f, lanes[time - 1], calls=3, primitive_calls=2, self_ns=1, total_ns=2)
    return builder.build()


def test_a_valid_profile_comes_back_itself() -> None:
    """Nothing is copied or changed."""
    profile = valid()
    assert checked(profile) is profile


@pytest.mark.parametrize(
    ("name", "column", "row", "value", "rule"),
    [
        ("functions", "name", 0, 99, "row of strings"),
        ("functions", "first_line", 1, -1, "not negative"),
        ("functions", "kind", 1, 9, "kind is one of"),
        ("functions", "category", 0, 4, "category is one of"),
        ("functions", "identified", 0, 3, "identified is one of"),
        ("frames", "function", 2, 2, "row of functions"),
        ("frames", "line", 0, -1, "not negative"),
        ("nodes", "parent", 1, 1, "before its children"),
        ("nodes", "parent", 1, 2, "before its children"),
        ("nodes", "parent", 0, -2, "ROOT"),
        ("nodes", "frame", 2, 1, "siblings never share"),
        ("nodes", "frame", 2, -1, "row of frames"),
        ("lanes", "thread_name", 1, 77, "row of strings"),
        ("lanes", "end_ns", 0, 3, "ends after its start"),
        ("lanes", "is_main", 1, 2, "0 or 1"),
        ("cells", "node", 3, 3, "row of nodes"),
        ("cells", "lane", 1, 2, "row of lanes"),
        ("cells", "metric", 11, 3, "row of metrics"),
        ("cells", "lane", 1, 0, "sorted by"),
        ("cells", "node", 0, 2, "sorted by"),
        ("cells", "metric", 0, 1, "sorted by"),
        ("cells", "value", 2, -1, "`wall_time` are not negative"),
        ("cells", "value", 11, -1, "`calls` are not negative"),
        ("cells", "value", 5, 11, "waiting_time is part"),
        ("samples", "time_ns", 1, 0, "sorted by time"),
        ("samples", "node", 0, -1, "row of nodes"),
        ("samples", "weight", 0, -1, "not negative"),
        ("edges", "caller", 0, -2, "row of functions"),
        ("edges", "callee", 0, -1, "row of functions"),
        ("edges", "primitive_calls", 0, 4, "primitive calls"),
        ("edges", "total_ns", 1, -5, "not negative"),
        ("intervals", "end_ns", 1, 1, "ends after its start"),
        ("intervals", "bytes", 0, -1, "not negative"),
        ("counters", "lane", 0, 2, "row of lanes"),
        ("counters", "name", 1, -1, "row of strings"),
        ("markers", "end_ns", 1, 0, "ends after its start"),
    ],
)
def test_each_broken_rule_is_named_with_table_and_row(name: str, column: str, row: int, value: int, rule: str) -> None:
    """One wrong number anywhere is found."""
    profile = valid()
    columns = dict(getattr(profile, name).columns())
    columns[column] = columns[column].copy()
    columns[column][row] = value
    broken = with_tables(profile, {name: table(TABLES[name], columns)})
    with pytest.raises(ModelError) as caught:
        checked(broken)
    assert f"`{name}`" in caught.value.what
    assert rule in caught.value.cause


def test_waiting_without_any_wall_time_is_found() -> None:
    """A cell of waiting needs a cell of wall time at its node and lane."""
    builder = ProfileBuilder((WALL_TIME, WAITING_TIME))
    lane, node = builder.lane(), builder.node(-1, builder.frame(builder.function("f")))
    builder.add(node, lane, 1, 1)
    with pytest.raises(ModelError, match="row 0 of `cells`"):
        checked(builder.build())


def test_shapes_and_types_of_columns_are_tested() -> None:
    """A wrong type, a short column or a writable one is found before its values are looked at."""
    profile = valid()
    parent, frame = profile.nodes.parent, profile.nodes.frame
    for nodes, rule in (
        (Nodes(parent=parent, frame=frame.astype(np.int64)), "int32"),  # type: ignore[arg-type]
        (Nodes(parent=parent, frame=frame[:2]), "equally long"),
        (Nodes(parent=parent.copy(), frame=frame), "read-only"),
    ):
        with pytest.raises(ModelError) as caught:
            checked(replace(profile, nodes=nodes))
        assert rule in caught.value.cause
    with pytest.raises(ModelError, match="strings"):
        checked(replace(profile, strings=("x", *profile.strings[1:])))
    with pytest.raises(ModelError, match="metrics"):
        checked(replace(profile, metrics=(WALL_TIME, WALL_TIME, CALLS)))


def test_numbers_too_large_for_a_column_are_refused_not_wrapped() -> None:
    """A line of 2**40 must not come out as another line, nor 2**70 ns as a crash."""
    builder = ProfileBuilder((WALL_TIME,))
    builder.frame(builder.function("f"), 1 << 40)
    with pytest.raises(ModelError, match="line of the table `frames`"):
        builder.build()
    builder = ProfileBuilder((WALL_TIME,))
    builder.add(builder.node(-1, builder.frame(builder.function("f"))), builder.lane(), 0, 1 << 70)
    with pytest.raises(ModelError, match="cells"):
        builder.build()
    wide = np.array([0, 1 << 33])
    with pytest.raises(ModelError, match="parent of the table `nodes`"):
        finish(Profile(nodes=Nodes(parent=wide, frame=wide)))  # type: ignore[arg-type]
