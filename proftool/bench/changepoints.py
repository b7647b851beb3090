"""Where did a series of values change its level? E-divisive: the split with the largest energy distance, tested by permutation.

It assumes nothing of the values' distribution; of each segment only that its values could come in any order. A split is kept when few
shuffled segments have one as large; both halves are then looked at in the same way. Ranks stand for values, so that a single wild
one counts no more than the largest of the others.

Source: Matteson & James, "A nonparametric approach for multiple change point analysis" (2014); used on benchmark histories by Daly et al.,
"The use of change point detection to identify software performance regressions" (2020).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proftool.bench.statistics import Floats, ranks

LEAST = 3
"""Values in a segment."""
ALPHA = 0.01
N_SHUFFLED = 399


def change_points(values: Floats, *, alpha: float = ALPHA, least: int = LEAST, seed: int = 0) -> list[int]:
    """Places at which a new level begins, in order; empty where nothing changed."""
    series = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    found: list[int] = []
    waiting = [(0, len(series))]
    while waiting:
        low, high = waiting.pop()
        if high - low < 2 * least:
            continue
        # Ranks in place of values: one session on a disturbed machine is no level of its own.
        rank = ranks(series[low:high])
        own = np.abs(rank[:, None] - rank[None, :])
        at, best = _split(own, least)
        if best <= 0:
            continue
        reached = 0
        for _ in range(N_SHUFFLED):
            order = rng.permutation(high - low)
            reached += _split(own[np.ix_(order, order)], least)[1] >= best - 1e-12
            if (reached + 1) / (N_SHUFFLED + 1) > alpha:
                break
        if (reached + 1) / (N_SHUFFLED + 1) <= alpha:
            found.append(low + at)
            waiting += [(low, low + at), (low + at, high)]
    return sorted(found)


def _split(distance: NDArray[np.float64], least: int) -> tuple[int, float]:
    """The place that separates best, and how well: the scaled energy distance of the two sides."""
    n = len(distance)
    total = np.zeros((n + 1, n + 1))
    total[1:, 1:] = distance.cumsum(axis=0).cumsum(axis=1)
    at = np.arange(least, n - least + 1)
    left = total[at, at]
    right = total[n, n] - total[at, n] - total[n, at] + total[at, at]
    between = total[at, n] - total[at, at]
    m = n - at
    energy = 2 * between / (at * m) - left / (at * np.maximum(at - 1, 1)) - right / (m * np.maximum(m - 1, 1))
    score = at * m / n * energy
    best = int(np.argmax(score))
    return int(at[best]), float(score[best])
