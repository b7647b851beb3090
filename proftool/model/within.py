"""What one run shows of itself beyond its values: how noisy they are, and by how many calls they came about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from proftool.model.diff import FunctionChange
from proftool.model.profile import Int32Array, Profile
from proftool.model.significance import Floats, count_variance, over_dispersion

BETWEEN_COUNTS = 1.5
"""By how much counts of samples vary more between runs than within one; measured 1.0 to 1.7 for sampling at random times."""
TRACE_GRAIN = 0.005
"""Where there are no samples: what one interruption more or less adds to a function, as a part of the total."""


def within_variance(profile: Profile, functions: Int32Array, values: Floats, scale: float) -> Floats:
    """
    Variance of each function's value that the run itself shows: how often sampling met it anew, spread over time blocks.

    Args:
        functions: the function of each node, shape (n_nodes,).
        values: shape (n_functions,); `scale` takes a sample's weight to their unit.
    """
    samples, n_functions = profile.samples, len(values)
    if not len(samples):
        return (0.05 * values) ** 2 + (TRACE_GRAIN * values.sum()) ** 2
    order = np.lexsort((samples.time_ns, samples.lane))
    function, lane = functions[samples.node[order]], samples.lane[order]
    fresh = np.ones(len(function), bool)
    fresh[1:] = (function[1:] != function[:-1]) | (lane[1:] != lane[:-1])
    n = np.bincount(function, minlength=n_functions)
    spread = count_variance(function, fresh, n_functions)
    each = np.where(n > 0, values / np.maximum(n, 1), float(np.median(samples.weight)) * scale)
    return BETWEEN_COUNTS * spread * each**2 * over_dispersion(samples.time_ns[order][fresh], function[fresh])


def with_calls(changes: Sequence[FunctionChange], base: Floats, new: Floats) -> list[FunctionChange]:
    """Δ = more calls × mean cost + dearer calls × mean calls, for the calls of each side; the parts add up exactly."""
    result: list[FunctionChange] = []
    for c in changes:
        n0, n1 = float(base[c.function]), float(new[c.function])
        if n0 > 0 and n1 > 0:
            more = (n1 - n0) * (c.base_self / n0 + c.new_self / n1) / 2
            c = replace(c, more_calls=more, dearer_calls=c.delta_self - more)
        elif n0 > 0 or n1 > 0:
            c = replace(c, more_calls=c.delta_self, dearer_calls=0.0)
        result.append(c)
    return result
