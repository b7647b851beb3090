"""Pure views of a profile, each again a profile: by function, focused, hidden, collapsed, by module, leaf-first.

No view creates time: projections and `invert` keep every sum exactly, filters only drop. Each groups first and attaches
values after (regroup.py), so that no line and no recursive call counts twice. The caller-callee pairs of a profile that has
these instead of stacks are carried along unchanged, but by views that rename functions.
"""

from __future__ import annotations

import numpy as np

from proftool.model.builder import table
from proftool.model.profile import Frames, Profile
from proftool.model.regroup import moved, reshape
from proftool.model.tree import node_function


def to_functions(profile: Profile) -> Profile:
    """The function tree: lines of one function in one context become one node. Frame i is function i, without a line."""
    function = node_function(profile)
    nodes, place = reshape(profile, np.ones(len(function), bool), function)
    return moved(profile, nodes, place, frames=_whole_functions(len(profile.functions)))


def _whole_functions(n: int) -> Frames:
    return table(Frames, {"function": np.arange(n, dtype=np.int32), "line": np.zeros(n, np.int32)})
