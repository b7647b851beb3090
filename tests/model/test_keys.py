"""Packed keys order rows as a plain sort of tuples does."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from proftool.model.keys import sort_order, unique_rows

ROWS = st.lists(st.tuples(*[st.one_of(st.integers(0, 3), st.integers(0, (1 << 62) - 1))] * 3), max_size=30)


@given(ROWS)
def test_order_is_the_stable_order_of_tuples(rows: list[tuple[int, ...]]) -> None:
    """Short keys that pack and long ones that do not give the same answer."""
    columns = list(np.array(rows, np.int64).reshape(len(rows), 3).T)
    assert sort_order(columns).tolist() == sorted(range(len(rows)), key=lambda index: rows[index])


@given(ROWS)
def test_unique_rows_numbers_groups_in_order(rows: list[tuple[int, ...]]) -> None:
    """Each row's group stands for an equal row, groups are sorted and different."""
    columns = list(np.array(rows, np.int64).reshape(len(rows), 3).T)
    first, group = unique_rows(columns)
    assert [rows[index] for index in first.tolist()] == sorted(set(rows))
    assert [rows[int(first[g])] for g in group.tolist()] == rows
