"""Order and equality of rows made of several integer columns: the one primitive behind merging, aligning and folding.

Columns are packed into one 63-bit key, and where there is room the row number goes below it, so that a plain sort of
values replaces an indirect one: numpy sorts values with SIMD, a million rows in 10 to 20 ms where `lexsort` of two columns
takes 150 ms. Columns hold values >= 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proftool.model.profile import Int32Array, Int64Array

Column = NDArray[np.int32] | NDArray[np.int64] | NDArray[np.uint8]


def sort_order(columns: Sequence[Column]) -> Int64Array:
    """Row numbers in the order of the columns, the first one the most significant; stable."""
    n = len(columns[0])
    if n < 2:
        return np.arange(n, dtype=np.int64)
    packed, _, row_bits = _with_rows(columns)
    if row_bits:
        packed &= (1 << row_bits) - 1
    return packed


def sorted_keys(columns: Sequence[Column]) -> tuple[Int64Array, Int64Array, list[int]] | None:
    """
    The columns in order, in one key a row: cheaper to go on with than gathering each column by row number.

    Returns:
        the keys in order; the row number of each; and the bits of each column in a key, the last column lowest. None where
        columns and row number do not fit one key.
    """
    if len(columns[0]) < 2:
        return None
    packed, widths, row_bits = _with_rows(columns)
    if not row_bits:
        return None
    order = packed & ((1 << row_bits) - 1)
    packed >>= row_bits
    return packed, order, widths


def unique_rows(columns: Sequence[Column]) -> tuple[Int64Array, Int32Array]:
    """
    The different rows, and which of them each row is.

    Returns:
        the number of the first row of every group, groups in the order of the columns; and the group of every row.
    """
    found = sorted_keys(columns)
    order = sort_order(columns) if found is None else found[1]
    fresh = np.ones(len(order), bool)
    if found is not None:
        np.not_equal(found[0][1:], found[0][:-1], out=fresh[1:])
    elif len(order) > 1:
        changed = np.zeros(len(order) - 1, bool)
        for column in columns:
            ordered = column[order]
            changed |= ordered[1:] != ordered[:-1]
        fresh[1:] = changed
    group = np.empty(len(order), np.int32)
    group[order] = np.cumsum(fresh, dtype=np.int32) - 1
    return order[fresh], group


def _with_rows(columns: Sequence[Column]) -> tuple[Int64Array, list[int], int]:
    """Sorted keys with the row number in their lowest bits, the columns' widths and the row number's; the order itself where that is 0."""
    widths = [int(column.max()).bit_length() for column in columns]
    row_bits = (len(columns[0]) - 1).bit_length()
    width = sum(widths)
    if width > 63:
        return np.lexsort([np.asarray(column) for column in reversed(columns)]).astype(np.int64), widths, 0
    packed = columns[0].astype(np.int64)
    for column, bits in zip(columns[1:], widths[1:], strict=True):
        packed <<= bits
        packed |= column
    if width + row_bits > 63:
        return np.argsort(packed, kind="stable").astype(np.int64), widths, 0
    packed <<= row_bits
    packed |= np.arange(len(packed), dtype=np.int32)
    packed.sort()
    return packed, widths, row_bits
