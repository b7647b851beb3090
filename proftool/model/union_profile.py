"""The `Profile` of a `Diff`: the union tree at the level of functions, one lane, `<metric>.before` and `<metric>.after`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from proftool.model.align import Union
from proftool.model.builder import finish
from proftool.model.match import Matched
from proftool.model.profile import Cells, Frames, Functions, Lanes, Metric, Nodes, Profile
from proftool.model.tree import node_self


def union_profile(
    profiles: Sequence[Profile], matched: Matched, union: Union, of: Metric, n_base: int, scale: Sequence[float], speed: NDArray[np.float64]
) -> Profile:
    """
    Both sides' means per unit of exposure, rounded to base units; row i of functions and of frames is `matched.names[i]`.

    Args:
        profiles, scale: of all runs, base first; `scale` takes a run's value to one unit of exposure.
        speed: takes a function's value in a run to the machine's speed of the other side, shape (n_functions, n_runs).
    """
    strings: dict[str, int] = {"": 0}
    columns: dict[str, list[int]] = {name: [] for name in Functions.__dataclass_fields__}
    texts = ("name", "qualname", "module", "file", "code_hash")
    tables = [p.functions.columns() for p in profiles]
    for at, row in matched.rows:
        p = profiles[at]
        for column, values in tables[at].items():
            value = int(values[row])
            columns[column].append(strings.setdefault(p.strings[value], len(strings)) if column in texts else value)
    n_nodes = len(union.parent)
    sides = np.zeros((2, n_nodes))
    for at, p in enumerate(profiles):
        side = int(at >= n_base)
        values = np.bincount(union.places[at], node_self(p, p.metric_index(of.name)), n_nodes)
        if (speed[:, at] != 1).any():
            values *= speed[union.label, at]
        sides[side] += values * (scale[at] / ((len(profiles) - n_base) if side else n_base))
    rounded = np.rint(sides).astype(np.int64)
    metric, node = np.nonzero(rounded)
    names = tuple(replace(of, name=f"{of.name}.{when}") for when in ("before", "after"))
    lanes = {name: np.array([0 if name in ("process_name", "thread_name", "task") else -1]) for name in Lanes.__dataclass_fields__}
    lanes["is_main"] = np.array([1])
    built = Profile(
        strings=tuple(strings),
        functions=Functions(**{name: np.array(values, np.int64) for name, values in columns.items()}),  # pyright: ignore[reportArgumentType]  # `finish` casts
        frames=Frames(function=np.arange(len(matched.names), dtype=np.int32), line=np.zeros(len(matched.names), np.int32)),
        nodes=Nodes(parent=union.parent, frame=union.label),
        lanes=Lanes(**lanes),  # pyright: ignore[reportArgumentType]  # `finish` casts
        metrics=names,
        cells=Cells(
            node=node.astype(np.int32), lane=np.zeros(len(node), np.int32), metric=metric.astype(np.int32), value=rounded[metric, node]
        ),
        meta=profiles[-1].meta,
    )
    return finish(built)
