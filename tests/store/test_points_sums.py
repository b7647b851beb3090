"""Sums of blocks that are kept: bounded, and those that were used last."""

from __future__ import annotations

import numpy as np

from proftool.store.points_columns import rows
from proftool.store.points_sums import Block, Kept, Sums, sums

ROWS = rows(
    ([1, 1, 1, 2, 2, 3], [5, 12, 17, 3, 15, 14], [-1] * 6, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]), [1, 0, 0, 1, 1, 1, 2, 0, 0, 2, 3, 3], 2
)


def block(number: int) -> Block:
    return Block(number, 0, 10, 100)


def test_rows_are_added_up_by_line_and_step() -> None:
    """Series 1 and 3 are one line; each step has the time of its last row."""
    found = sums(ROWS, np.array([0, 0, 0, 1, 1, 0]), 10, [])
    assert list(zip(found.line.tolist(), found.step.tolist(), found.values.tolist(), found.times.tolist(), strict=True)) == [
        (0, 0, 1.0, 5), (0, 1, 38.0, 17), (1, 0, 8.0, 3), (1, 1, 16.0, 15),
    ]  # fmt: skip
    assert found.counts.tolist() == [[1, 0], [4, 5], [2, 0], [0, 2]]


def test_no_rows_are_no_sums() -> None:
    """With the width that others have."""
    none = ROWS.take(np.zeros(6, bool))
    found = sums(none, none.ids, 10, [])
    assert (len(found.line), found.counts.shape) == (0, (0, 2))


def test_what_was_not_used_for_longest_goes_first() -> None:
    """The bound is one of bytes."""
    own = sums(ROWS, np.zeros(6, np.int64), 10, [])
    kept = Kept(max_bytes=3 * own.n_bytes)
    for number in (1, 2, 3):
        kept.put("q", block(number), own)
    assert kept.get("q", block(1)) is own
    kept.put("q", block(4), own)
    assert [kept.get("q", block(number)) for number in (1, 2, 3, 4)] == [own, None, own, own]
    assert kept.get("another question", block(1)) is None


def test_a_block_that_is_another_is_not_mistaken_for_it() -> None:
    """The number of one that is gone is given again."""
    kept = Kept()
    own: Sums = sums(ROWS, np.zeros(6, np.int64), 10, [])
    kept.put("q", block(1), own)
    assert kept.get("q", Block(1, 0, 10, 101)) is None
    assert kept.get("q", Block(1, 0, 20, 100)) is None


def test_one_that_is_too_large_is_not_kept() -> None:
    """And leaves room for others."""
    own = sums(ROWS, np.zeros(6, np.int64), 10, [])
    kept = Kept(max_bytes=own.n_bytes - 1)
    kept.put("q", block(1), own)
    assert kept.get("q", block(1)) is None
