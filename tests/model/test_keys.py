"""Packed keys order rows as a plain sort of tuples does."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from proftool.model.keys import sort_order, sorted_keys, unique_rows

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


@given(ROWS)
def test_columns_can_be_cut_out_of_their_keys(rows: list[tuple[int, ...]]) -> None:
    """Bits of each column as told; no answer only where three columns and the row number need more than 63."""
    columns = list(np.array(rows, np.int64).reshape(len(rows), 3).T)
    found = sorted_keys(columns)
    if found is None:
        needed = sum(max(row[column] for row in rows).bit_length() for column in range(3)) if rows else 0
        assert len(rows) < 2 or needed + (len(rows) - 1).bit_length() > 63
        return
    keys, order, (_, second, third) = found
    cut = [(key >> second >> third, key >> third & (1 << second) - 1, key & (1 << third) - 1) for key in keys.tolist()]
    assert cut == sorted(rows) == [rows[index] for index in order.tolist()]
