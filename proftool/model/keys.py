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
    packed, width = _pack(columns)
    if packed is None:
        return np.lexsort([np.asarray(column) for column in reversed(columns)]).astype(np.int64)
    row_bits = (n - 1).bit_length()
    if width + row_bits <= 63:
        packed <<= row_bits
        packed |= np.arange(n, dtype=np.int64)
        packed.sort()
        packed &= (1 << row_bits) - 1
        return packed
    return np.argsort(packed, kind="stable").astype(np.int64)


def unique_rows(columns: Sequence[Column]) -> tuple[Int64Array, Int32Array]:
    """
    The different rows, and which of them each row is.

    Returns:
        the number of the first row of every group, groups in the order of the columns; and the group of every row.
    """
    order = sort_order(columns)
    fresh = np.ones(len(order), bool)
    if len(order) > 1:
        changed = np.zeros(len(order) - 1, bool)
        for column in columns:
            ordered = column[order]
            changed |= ordered[1:] != ordered[:-1]
        fresh[1:] = changed
    group = np.empty(len(order), np.int32)
    group[order] = np.cumsum(fresh, dtype=np.int32) - 1
    return order[fresh], group


def _pack(columns: Sequence[Column]) -> tuple[Int64Array | None, int]:
    widths = [int(column.max()).bit_length() for column in columns]
    if sum(widths) > 63:
        return None, 64
    packed = columns[0].astype(np.int64)
    for column, width in zip(columns[1:], widths[1:], strict=True):
        packed <<= width
        packed |= column
    return packed, sum(widths)
