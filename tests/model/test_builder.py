"""The builder interns, adds up and sorts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from proftool.model.builder import ProfileBuilder, sum_cells, table
from proftool.model.check import checked
from proftool.model.profile import CALLS, ROOT, WALL_TIME, Cells, function_keys

ROWS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 2, 900]), st.integers(0, 2), st.integers(-2, 2)), max_size=60)


def test_equal_things_are_one_row_and_values_add_up() -> None:
    """The same context twice is one node with both values; a value of nothing makes no cell."""
    builder = ProfileBuilder((WALL_TIME, CALLS))
    lane = builder.lane()
    for value in (3, 4, 0):
        node = builder.node(ROOT, builder.frame(builder.function("f", module="m"), 7))
        builder.add(node, lane, 0, value)
        builder.add(node, lane, 1, 0)
    profile = checked(builder.build())
    assert (len(profile.functions), len(profile.frames), len(profile.nodes)) == (1, 1, 1)
    assert profile.cells.value.tolist() == [7]


def test_functions_on_other_lines_stay_apart_and_have_keys_of_their_own() -> None:
    """Two lambdas of one owner: two rows, ordinals by line, whatever the order in which they came."""
    builder = ProfileBuilder((WALL_TIME,))
    for line in (9, 4):
        builder.function("f.<locals>.<lambda>", module="m", file="m.py", first_line=line)
    profile = builder.build()
    assert [key.ordinal for key in function_keys(profile)] == [1, 0]


@given(ROWS)
def test_sum_cells_is_the_sum_by_key_in_order(rows: list[tuple[int, int, int, int]]) -> None:
    """Both ways of adding up (few keys, many keys) give the dictionary's answer, sorted, without zeros."""
    expected: dict[tuple[int, int, int], int] = {}
    for metric, node, lane, value in rows:
        expected[metric, node, lane] = expected.get((metric, node, lane), 0) + value
    block = np.array(rows, np.int64).reshape(len(rows), 4)
    cells = sum_cells(table(Cells, {name: block[:, index] for index, name in enumerate(("metric", "node", "lane", "value"))}))
    found = list(zip(cells.metric.tolist(), cells.node.tolist(), cells.lane.tolist(), cells.value.tolist(), strict=True))
    assert found == sorted((*key, value) for key, value in expected.items() if value)
