"""The calling-context tree: which nodes of a recursive function count."""

from __future__ import annotations

import numpy as np
import pytest

from proftool.model import tree
from proftool.model.tree import Tree


@pytest.mark.parametrize("shallow", [0, 1000], ids=["by sorting", "by climbing"])
def test_outermost_nodes_are_those_without_an_equal_ancestor(shallow: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of finding them agree with looking at every ancestor, over random trees."""
    monkeypatch.setattr(tree, "_SHALLOW", shallow)
    rng = np.random.default_rng(1)
    for _ in range(60):
        n = int(rng.integers(1, 60))
        parent = np.array([-1, *(int(rng.integers(-1, at)) for at in range(1, n))], np.int32)
        label = rng.integers(0, 4, n).astype(np.int32)
        expected = []
        for node in range(n):
            above, up = set(), parent[node]
            while up >= 0:
                above.add(int(label[up]))
                up = parent[up]
            expected.append(int(label[node]) not in above)
        assert Tree.from_parents(parent).outermost(label).tolist() == expected
