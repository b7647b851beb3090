"""Times and peak memory of the model's operations at a million nodes, printed as a table: `python tests/perf/model.py [n_nodes]`.

Every row runs in a fresh process, so that its peak is its own: the peak is what the operation adds to the resident memory
of its inputs.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from proftool.model import transform
from proftool.model.builder import table
from proftool.model.check import checked
from proftool.model.fold import fold
from proftool.model.merge import merge
from proftool.model.profile import CALLS, WALL_TIME, Cells, Frames, Functions, Lanes, Nodes, Profile
from proftool.model.tree import Tree, function_self, function_total, node_self


def large(n_nodes: int, seed: int = 1) -> Profile:
    """A random tree of about `n_nodes` with the depth of real programs (20 to 60) and 5,000 functions on 20,000 lines."""
    random = np.random.default_rng(seed)
    n_functions, n_frames, n_lanes = 5_000, 20_000, 4
    parent = np.empty(n_nodes, np.int32)
    # Each node hangs below one of the 1/8 before it: depth grows with the logarithm of n, as breadth does in real trees.
    at = np.arange(n_nodes)
    parent[:] = np.where(at < 8, -1, at - 1 - (random.random(n_nodes) * np.maximum(at // 2, 1)).astype(np.int64))
    parent = np.maximum(parent, -1)
    frame = random.integers(0, n_frames, n_nodes).astype(np.int32)
    key = (parent.astype(np.int64) + 1) * n_frames + frame
    _, first = np.unique(key, return_index=True)
    good = np.zeros(n_nodes, bool)
    good[first] = True
    for index in np.flatnonzero(~good).tolist():
        frame[index] = n_frames + index % 7919  # a twin gets a frame of its own
    strings = ("", *(f"function_{i}" for i in range(n_functions)), *(f"file_{i}.py" for i in range(300)))
    number = np.arange(n_functions, dtype=np.int32)
    columns = {name: np.zeros(n_functions, column.dtype) for name, column in Functions().columns().items()}
    columns |= {"name": number + 1, "qualname": number + 1, "file": n_functions + 1 + number % 300, "first_line": number}
    n_all = n_frames + 7919
    lane = {name: np.zeros(n_lanes, column.dtype) for name, column in Lanes().columns().items()} | {"tid": np.arange(n_lanes)}
    node = np.arange(n_nodes, dtype=np.int32)
    value = random.integers(1, 10**6, 2 * n_nodes)
    cells = {
        "node": np.concatenate([node, node]),
        "lane": np.concatenate([node % n_lanes, node % n_lanes]),
        "metric": np.repeat(np.arange(2, dtype=np.int32), n_nodes),
        "value": value,
    }
    return Profile(
        strings=strings,
        functions=table(Functions, columns),
        frames=table(Frames, {"function": np.arange(n_all, dtype=np.int32) % n_functions, "line": np.arange(n_all, dtype=np.int32)}),
        nodes=table(Nodes, {"parent": parent, "frame": frame}),
        lanes=table(Lanes, lane),
        metrics=(WALL_TIME, CALLS),
        cells=table(Cells, cells),
    )


def operations(n_nodes: int) -> dict[str, Callable[[], Callable[[], object]]]:
    """Name -> prepares the inputs and gives the operation to measure."""

    def tree() -> Callable[[], object]:
        profile = large(n_nodes)
        return lambda: Tree.of(profile)

    def totals() -> Callable[[], object]:
        profile = large(n_nodes)
        own = Tree.of(profile)
        return lambda: own.total(node_self(profile, 0))

    def functions() -> Callable[[], object]:
        profile = large(n_nodes)
        own = Tree.of(profile)
        return lambda: (function_self(profile, 0), function_total(profile, 0, own))

    def merging() -> Callable[[], object]:
        profiles = [large(n_nodes // 2, 1), large(n_nodes // 2, 2)]
        return lambda: merge(profiles)

    def merging_equal() -> Callable[[], object]:
        profiles = [large(n_nodes, 1), large(n_nodes, 1)]
        return lambda: merge(profiles)

    def checking() -> Callable[[], object]:
        profile = large(n_nodes)
        return lambda: checked(profile)

    def view(name: str) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            profile = large(n_nodes)
            view: Callable[[Profile], Profile] = getattr(transform, name)
            return lambda: view(profile)

        return prepare

    def folding() -> Callable[[], object]:
        profile = large(n_nodes)
        return lambda: fold(profile, max_nodes=50_000)

    views = ("to_functions", "collapse_library", "by_module", "invert")
    return {
        "Tree.of": tree,
        "Tree.total": totals,
        "function table": functions,
        "merge, two of half that": merging,
        "merge, two of that each": merging_equal,
        "checked": checking,
        "fold to 50,000": folding,
        **{name: view(name) for name in views},
    }


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure(n_nodes: int, name: str) -> None:
    """Run one operation and print its line."""
    operation = operations(n_nodes)[name]()
    Path("/proc/self/clear_refs").write_text("5")  # peak resident memory starts anew
    before = _resident_bytes()
    started, cpu_started = time.perf_counter(), time.process_time()
    operation()
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) * 1024 - before
    print(f"{name:26} {n_nodes:>10,} nodes {elapsed:8.3f} s ({cpu:.3f} s CPU) {peak / 1e6:8.0f} MB", flush=True)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    if len(sys.argv) > 2:
        measure(count, sys.argv[2])
    else:
        for each in operations(count):
            subprocess.run([sys.executable, __file__, str(count), each], check=True)
