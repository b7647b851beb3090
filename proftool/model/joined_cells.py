"""Cells of several profiles in one table, without a sort: each profile's stand in order, and no lane is in two of them.

So the cells of one metric and node of the union are a run of the first profile, then one of the second, and so on; where each run goes is
a sum of counts. Four million cells take two thirds of the time of a sort.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proftool.model.builder import table
from proftool.model.profile import Cells, Int32Array, Int64Array

_SPARSE = 4
"""Pairs of metric and node for each cell, above which a sort has less to do."""


def joined_cells(
    cells: Sequence[Cells],
    *,
    nodes: Sequence[Int32Array],
    lanes: Sequence[int],
    metrics: Sequence[Int32Array],
    n_nodes: int,
    n_metrics: int,
) -> Cells | None:
    """
    The cells with new nodes, lanes and metrics, in order.

    Args:
        nodes: per table, what each node becomes.
        lanes: per table, what its first lane becomes; rising, so that no lane is in two tables.
        metrics: per table, what each metric becomes.

    Returns:
        None where two nodes of one table become one, where a value is 0, or where a sort is cheaper.
    """
    n_cells = sum(map(len, cells))
    if not n_cells or n_nodes * n_metrics > _SPARSE * n_cells or not all(each.value.all() for each in cells):
        return None
    for node in nodes:
        is_taken = np.zeros(n_nodes, bool)
        is_taken[node] = True
        if np.count_nonzero(is_taken) < len(node):
            return None
    value, lane, node = np.empty(n_cells, np.int64), np.empty(n_cells, np.int32), np.empty(n_cells, np.int32)
    sizes = np.zeros(n_metrics, np.int64)
    number = np.arange(n_nodes, dtype=np.int32)
    end = 0
    for metric in range(n_metrics):
        counts = np.zeros(n_nodes, np.int32)
        runs: list[tuple[Cells, int, int, int, Int32Array, Int64Array, Int64Array]] = []
        for each, to_node, first_lane, to_metric in zip(cells, nodes, lanes, metrics, strict=True):
            for own in np.flatnonzero(to_metric == metric).tolist():
                # Bounds of the column's own type: others would make numpy copy the column.
                low, high = map(int, np.searchsorted(each.metric, np.array([own, own + 1], each.metric.dtype)))
                key = to_node[each.node[low:high]]
                begins = np.flatnonzero(np.diff(key, prepend=-1))
                key = key[begins]
                long = np.diff(begins, append=high - low)
                counts[key] += long.astype(np.int32)
                runs.append((each, first_lane, low, high, key, begins, long))
        begin, end = end, end + int(counts.sum(dtype=np.int64))
        sizes[metric] = end - begin
        node[begin:end] = np.repeat(number, counts)
        place = np.cumsum(counts, dtype=np.int64) - counts + begin
        for each, first_lane, low, high, key, begins, long in runs:
            to = place[key]
            place[key] = to + long
            if len(key) < high - low:
                to = np.repeat(to - begins, long) + np.arange(high - low)
            value[to] = each.value[low:high]
            lane[to] = each.lane[low:high] + np.int32(first_lane)
    return table(Cells, {"node": node, "lane": lane, "metric": np.repeat(np.arange(n_metrics, dtype=np.int32), sizes), "value": value})
