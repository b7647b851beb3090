"""One fresh process that measures one benchmark: standard library only, run by path in the measured interpreter.

    python _worker.py list FILE                    -> the benchmarks of a file, without running them
    python _worker.py run FILE NAME SPEC           -> the values of one benchmark; SPEC is JSON (see `measure`)

The answer is one JSON object on file descriptor 3 (`PROFTOOL_BENCH_FD`), so that what a benchmark prints disturbs nothing.

A benchmark is a function named `bench_*` (or marked with `__proftool_bench__`); a coroutine function runs in one event loop. Its
parameters come from `NAME.params`, a list of dicts or of single values; `NAME.setup` is called before the loops and what it returns is
the argument. A value is the time of `loops` calls divided by `loops`, less that of an empty loop of the same shape.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import inspect
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, cast

Clock = Callable[[], int]

CLOCKS: dict[str, Clock] = {"cpu": time.thread_time_ns, "wall": time.perf_counter_ns}
MAX_LOOPS = 1 << 30


def load(path: str) -> ModuleType:
    """Import the file under its stem, its folder first on the path as for a script."""
    folder = os.path.dirname(os.path.abspath(path))
    sys.path.insert(0, folder)
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec, path
    assert spec.loader, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def benchmarks(module: ModuleType) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Name -> (function, argument maker or None), in order of definition; parameters become `name[value]`."""
    found: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {}
    for name, function in list(vars(module).items()):
        if not callable(function) or not (name.startswith("bench_") or hasattr(function, "__proftool_bench__")):
            continue
        if getattr(function, "__module__", None) != module.__name__:
            continue
        params: Iterable[Any] | None = getattr(function, "params", None)
        if params is None:
            found[name] = (function, {})
            continue
        for value in params:
            if isinstance(value, dict):
                arguments = cast("dict[str, Any]", value)
                label = ",".join(f"{key}={one}" for key, one in arguments.items())
            else:
                arguments, label = {next(iter(inspect.signature(function).parameters)): value}, str(value)
            found[f"{name}[{label}]"] = (function, arguments)
    return found


def timed(call: Callable[[], Any], loops: int, clocks: list[Clock]) -> list[int]:
    """Elapsed ns of so many calls by each clock."""
    repeat = range(loops)
    begin = [clock() for clock in clocks]
    for _ in repeat:
        call()
    return [clock() - start for clock, start in zip(clocks, begin)]  # noqa: B905 - strict= needs 3.10


def empty() -> None:
    """What the overhead of the loop is measured with."""


def measure(function: Callable[..., Any], arguments: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """
    Values per call of one benchmark.

    SPEC: `loops` (0: calibrate), `values` (how many), `least_ns` (a value's least time), `warmup_ns` (at most).
    """
    if hasattr(function, "setup"):
        prepared = getattr(function, "setup")(**arguments)  # noqa: B009 - a plain function has no such attribute
        call = lambda: function(prepared)  # noqa: E731
    elif arguments:
        call = lambda: function(**arguments)  # noqa: E731
    else:
        call = function
    if inspect.iscoroutinefunction(function):
        runner, coroutine = asyncio.new_event_loop(), call
        call = lambda: runner.run_until_complete(coroutine())  # noqa: E731
    clocks = list(CLOCKS.values())
    loops = spec.get("loops") or calibrate(call, clocks, spec["least_ns"])
    warmed = warm_up(call, loops, clocks, spec["warmup_ns"])
    gc.collect()
    if hasattr(gc, "freeze"):
        gc.freeze()
    empty_loops = [timed(empty, loops, clocks) for _ in range(5)]
    overhead = [min(row[at] for row in empty_loops) for at in range(len(clocks))]
    before = resource.getrusage(resource.RUSAGE_SELF)
    rows = [timed(call, loops, clocks) for _ in range(spec["values"])]
    after = resource.getrusage(resource.RUSAGE_SELF)
    values = {name: [max((row[at] - overhead[at]) / loops, 0.0) for row in rows] for at, name in enumerate(CLOCKS)}
    return {
        "loops": loops,
        "values": values,
        "overhead_ns": {name: cost / loops for name, cost in zip(CLOCKS, overhead)},  # noqa: B905
        "warmup_calls": warmed,
        "involuntary_switches": after.ru_nivcsw - before.ru_nivcsw,
        "peak_bytes": after.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


def calibrate(call: Callable[[], Any], clocks: list[Clock], least_ns: int) -> int:
    """The power of two of loops that makes a value last long enough for the clock and the scheduler."""
    loops = 1
    while loops < MAX_LOOPS and timed(call, loops, clocks)[1] < least_ns:
        loops *= 2
    return loops


def warm_up(call: Callable[[], Any], loops: int, clocks: list[Clock], at_most_ns: int) -> int:
    """Run until the last values no longer fall (caches, specialising interpreter), or the time is up; number of calls."""
    spent, calls = 0, 0
    last: list[int] = []
    while spent < at_most_ns:
        cpu, wall = timed(call, loops, clocks)
        spent, calls, last = spent + wall, calls + loops, [*last[-5:], cpu]
        if len(last) == 6 and min(last[3:]) >= 0.98 * min(last[:3]):
            break
    return calls


def outside(root: str) -> dict[str, str]:
    """Modules whose names are also found below the measured side, but whose files lie elsewhere: the wrong side's code."""
    root = os.path.realpath(root) + os.sep
    wrong: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and not os.path.realpath(file).startswith(root):
            top = name.partition(".")[0]
            for place in (root, os.path.join(root, "src") + os.sep):
                if os.path.exists(os.path.join(place, top, "__init__.py")) or os.path.exists(os.path.join(place, top + ".py")):
                    wrong[name] = file
    return wrong


def main(argv: list[str]) -> dict[str, Any]:
    """Do what the arguments say; the answer goes to the descriptor."""
    verb, path = argv[:2]
    module = load(path)
    found = benchmarks(module)
    if verb == "list":
        return {"benchmarks": list(found)}
    function, arguments = found[argv[2]]
    spec = json.loads(argv[3])
    answer = measure(function, arguments, spec)
    if spec.get("root"):
        answer["outside"] = outside(spec["root"])
    return answer


if __name__ == "__main__":
    descriptor = int(os.environ.pop("PROFTOOL_BENCH_FD"))
    sys.path[:] = [place for place in sys.path if place != os.path.dirname(os.path.abspath(__file__))]
    answer = json.dumps(main(sys.argv[1:])).encode()
    with os.fdopen(descriptor, "wb") as out:
        out.write(answer)
