"""Counts and bytes: what repeats identically is certain, what varies must lie apart in all runs.

One thing of a memory recording is chance: which function asks for an *arena*. CPython's allocator of small objects takes memory from the
system in arenas of 1 MiB (Objects/obmalloc.c, since 3.10), and a recorder that does not trace the allocator itself counts the whole
arena for the function whose object did not fit any more. A hash seed is enough to make it another one: of pairs of recordings of one
program of 1.5 MB, with the same peak, the same bytes and the same number of allocations, a fifth told a function that held 1 MiB more and
one that held 1 MiB less.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proftool.model import significance
from proftool.model.significance import Floats, Tested

ARENA_BYTES = 1 << 20
ARENAS_EXCHANGED = "arenas of small objects (1 MiB each) are held by other functions"
_NEAR = 0.02
"""Of an arena: what else differs between functions that change places."""


def compare_exact(values: Floats, n_base: int) -> Tested:
    """How sure each function's difference is; values are of shape (n_functions, n_runs), base first."""
    base, new = values[:, :n_base], values[:, n_base:]
    constant = (np.ptp(base, axis=1) == 0) & (np.ptp(new, axis=1) == 0)
    apart = (base.max(axis=1) < new.min(axis=1)) | (new.max(axis=1) < base.min(axis=1))
    chance = 2 / significance.comb(values.shape[1], n_base)
    q = np.where(apart, np.where(constant, 0.0, chance), 1.0)
    delta = new.mean(axis=1) - base.mean(axis=1)
    zero = np.zeros(len(delta))
    return Tested(delta, zero, q, zero, new.min(axis=1) - base.max(axis=1), new.max(axis=1) - base.min(axis=1))


def exchanged_arenas(base: Floats, new: Floats) -> NDArray[np.bool_]:
    """
    Functions whose bytes differ by whole arenas that others hold less, or more: they may have changed places by chance.

    Shape (n_functions,). All False where the arenas do not balance (then there are more of them, or fewer), and for a function that has
    gained or lost more than chance gives it: twice the square root of how many it holds, and one.
    """
    delta = new - base
    arenas = np.rint(delta / ARENA_BYTES)
    held = np.maximum(base, new) / ARENA_BYTES
    moved = (arenas != 0) & (np.abs(delta - arenas * ARENA_BYTES) <= _NEAR * ARENA_BYTES) & (np.abs(arenas) <= 1 + 2 * np.sqrt(held))
    return moved if arenas[moved].sum() == 0 else np.zeros(len(delta), np.bool_)
