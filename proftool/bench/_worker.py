"""One fresh process that measures one benchmark: standard library only, run by path in the measured interpreter.

    python _worker.py list FILE                    -> the benchmarks of a file, without running them
    python _worker.py run FILE NAME SPEC           -> the values of one benchmark; SPEC is JSON (see `measure`)
    python _worker.py import MODULE SPEC           -> what the first import of a module costs

The answer is one JSON object on file descriptor `PROFTOOL_BENCH_FD`, so that what a benchmark prints disturbs nothing.

A benchmark is a function named `bench_*` (or marked with `__proftool_bench__`); a coroutine function runs in one event loop. Its
parameters come from `NAME.params`, a list of dicts or of single values; `NAME.setup` is called once before the loops and what it
returns is the argument; `NAME.setup_each` is called before every call, outside of the clock. In a file named `test_*.py` a benchmark is a
test that asks for the fixture `benchmark` (see _fixture.py). A value is the time of `loops` calls divided by `loops`, less that of an
empty loop of the same shape.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import inspect
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, cast

Clock = Callable[[], int]
Call = Callable[[], Any]

CLOCKS: dict[str, Clock] = {"cpu": time.thread_time_ns, "wall": time.perf_counter_ns}
MAX_LOOPS = 1 << 30
N_EMPTY = 5
STEADY = 0.98
"""Warm when the best of the last three blocks is not below this part of the best of the three before."""


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


def is_tests(path: str) -> bool:
    """Is the file one that pytest would collect?"""
    name = os.path.basename(path)
    return name.startswith("test_") or name.endswith("_test.py")


def benchmarks(module: ModuleType) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Name -> (function, arguments), in order of definition; parameters become `name[value]`."""
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


def timed(call: Call, loops: int, clocks: list[Clock]) -> list[int]:
    """Elapsed ns of so many calls by each clock."""
    repeat = range(loops)
    begin = [clock() for clock in clocks]
    for _ in repeat:
        call()
    return [clock() - start for clock, start in zip(clocks, begin)]  # noqa: B905 - strict= needs 3.10


def empty() -> None:
    """What the overhead of the loop is measured with."""


def plain(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, a coroutine function's run to its end in one event loop."""
    if not inspect.iscoroutinefunction(call):
        return call
    import asyncio

    loop = asyncio.new_event_loop()
    return lambda *arguments, **named: loop.run_until_complete(call(*arguments, **named))


def measure(call: Call, spec: dict[str, Any], fresh: Callable[[], Call] | None = None) -> dict[str, Any]:
    """
    Values per call of one benchmark.

    SPEC: `loops` (0: calibrate), `values` (how many), `least_ns` (a value's least time), `warmup_ns` (at most), `gc` (False: off while it
    is timed), `count` (only run it), `turns` (descriptors: by the second it asks for each value, from the first it reads that it may),
    `processor` (the one that the timed part is bound to).

    Args:
        fresh: makes the call anew before each value, outside of the clock; a value is then one call.
    """
    clocks = list(CLOCKS.values())
    if fresh is not None:
        loops = 1
        warmed, steady = warm_up(lambda: timed(fresh(), 1, clocks), spec["warmup_ns"], 1)
    else:
        loops = spec.get("loops") or calibrate(call, clocks, spec["least_ns"])
        warmed, steady = warm_up(lambda: timed(call, loops, clocks), spec["warmup_ns"], loops)
    gc.collect()
    if hasattr(gc, "freeze"):
        gc.freeze()
    # Where instructions are counted the empty loop would be counted with the rest, and what it costs per call stays in.
    empty_loops = [timed(empty, loops, clocks) for _ in range(N_EMPTY)] if not spec.get("count") else [[0] * len(clocks)]
    overhead = [min(row[at] for row in empty_loops) for at in range(len(clocks))]
    on = gc.isenabled()
    if not spec.get("gc", True):
        gc.disable()
    before, stolen = resource.getrusage(resource.RUSAGE_SELF), steal()
    if "processor" in spec:
        # Threads that warming up has started stay free.
        os.sched_setaffinity(0, {spec["processor"]})
    try:
        rows = [timed(call if fresh is None else fresh(), loops, clocks) for _ in turns(spec)]
    finally:
        if on:
            gc.enable()
        if hasattr(gc, "unfreeze"):
            gc.unfreeze()
    after = resource.getrusage(resource.RUSAGE_SELF)
    values = {name: [max((row[at] - overhead[at]) / loops, 0.0) for row in rows] for at, name in enumerate(CLOCKS)}
    return {
        "loops": loops,
        "values": values,
        "overhead_ns": [overhead[0] / loops, max(row[0] for row in empty_loops) / loops],
        "warmup_calls": warmed,
        "steady": steady,
        "involuntary_switches": after.ru_nivcsw - before.ru_nivcsw,
        "steal_ns": steal() - stolen,
        "peak_bytes": peak_bytes(),
    }


def turns(spec: dict[str, Any]) -> Iterator[int]:
    """Once for each value, and with `turns` only when the other process of the pair waits."""
    if "turns" not in spec:
        yield from range(spec["values"])
        return
    may, ask = spec["turns"]
    for pipe in (may, ask):
        os.set_inheritable(pipe, False)
    for turn in range(spec["values"]):
        os.write(ask, b"r")
        if os.read(may, 1) != b"g":
            raise SystemExit("the other process of the pair is gone")
        yield turn
    os.write(ask, b"e")


def calibrate(call: Call, clocks: list[Clock], least_ns: int) -> int:
    """The power of two of loops that makes a value last long enough for the clock and the scheduler."""
    loops = 1
    while loops < MAX_LOOPS and timed(call, loops, clocks)[1] < least_ns:
        loops *= 2
    return loops


def warm_up(block: Callable[[], list[int]], at_most_ns: int, loops: int) -> tuple[int, bool]:
    """Run blocks until they no longer become faster (caches, specialising interpreter) or the time is up: calls, and whether they were
    steady at the end."""
    spent, calls = 0, 0
    last: list[int] = []
    while spent < at_most_ns:
        cpu, wall = block()
        spent, calls, last = spent + wall, calls + loops, [*last[-5:], cpu]
        if len(last) == 6 and min(last[3:]) >= STEADY * min(last[:3]):
            return calls, True
    return calls, False


def peak_bytes() -> int:
    """The most memory that this process had. `ru_maxrss` would begin with that of the process it was forked from (Linux)."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def steal() -> int:
    """Time that the hypervisor gave to others, all processors of this machine together, ns; 0 where the system does not say."""
    # The same as in _starter.py: both are run by path, in interpreters where proftool cannot be imported.
    try:
        with open("/proc/stat", encoding="ascii") as file:
            return int(file.readline().split()[8]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return 0


def of_function(function: Callable[..., Any], arguments: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """Measure a `bench_*` function."""
    run = plain(function)
    each: Callable[..., Any] | None = getattr(function, "setup_each", None)
    if each is not None:
        make = each

        def fresh() -> Call:
            prepared = make(**arguments)
            return lambda: run(prepared)

        return measure(empty, spec, fresh)
    if hasattr(function, "setup"):
        prepared = getattr(function, "setup")(**arguments)  # noqa: B009 - a plain function has no such attribute
        return measure(lambda: run(prepared), spec)
    return measure((lambda: run(**arguments)) if arguments else run, spec)


def of_import(name: str) -> dict[str, Any]:
    """What importing a module costs in a process that has imported little else; one value."""
    clocks = list(CLOCKS.values())
    before, stolen = resource.getrusage(resource.RUSAGE_SELF), steal()
    spent = timed(lambda: importlib.import_module(name), 1, clocks)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "loops": 1,
        "values": {clock: [float(ns)] for clock, ns in zip(CLOCKS, spent)},  # noqa: B905
        "involuntary_switches": after.ru_nivcsw - before.ru_nivcsw,
        "steal_ns": steal() - stolen,
        "peak_bytes": peak_bytes(),
    }


def of_tests(verb: str, path: str, rest: list[str]) -> dict[str, Any]:
    """List or measure the benchmarks of a test file, by pytest and the fixture of _fixture.py."""
    os.dup2(2, 1)  # what pytest has to say of a failing test stands on stdout
    # By its path: its folder on sys.path would hide the standard library's `statistics`.
    spec = importlib.util.spec_from_file_location(
        "_proftool_fixture", os.path.join(os.path.dirname(os.path.abspath(__file__)), "_fixture.py")
    )
    assert spec
    assert spec.loader
    fixture: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fixture)
    if verb == "list":
        return {"benchmarks": fixture.listed(path)}
    return fixture.measured(path, rest[0], json.loads(rest[1]), measure)


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


def complain(error: BaseException) -> None:
    """Its traceback on stderr without the frames of this file and of the import machinery: the user's benchmark failed, not we."""
    told = traceback.TracebackException.from_exception(error)
    rest: list[traceback.TracebackException | None] = [told]
    while rest:
        one = rest.pop()
        if one is not None:
            own = [frame for frame in one.stack if frame.filename != __file__ and not frame.filename.startswith("<frozen importlib")]
            one.stack[:] = own
            rest += [one.__cause__, one.__context__]
    sys.stderr.write("".join(told.format()))


def main(argv: list[str]) -> dict[str, Any]:
    """Do what the arguments say; the answer goes to the descriptor."""
    verb, path = argv[:2]
    if verb == "import":
        sys.path.insert(0, os.getcwd())
        answer = of_import(path)
    elif is_tests(path):
        answer = of_tests(verb, path, argv[2:])
    else:
        found = benchmarks(load(path))
        if verb == "list":
            return {"benchmarks": list(found)}
        function, arguments = found[argv[2]]
        answer = of_function(function, arguments, json.loads(argv[3]))
    spec: dict[str, Any] = json.loads(argv[-1]) if verb != "list" else {}
    if spec.get("root"):
        answer["outside"] = outside(spec["root"])
    return answer


if __name__ == "__main__":
    descriptor = int(os.environ.pop("PROFTOOL_BENCH_FD"))
    os.set_inheritable(descriptor, False)
    sys.path[:] = [place for place in sys.path if place != os.path.dirname(os.path.abspath(__file__))]
    try:
        told = json.dumps(main(sys.argv[1:])).encode()
    except Exception as error:
        complain(error)
        raise SystemExit(1) from None
    with os.fdopen(descriptor, "wb") as out:
        out.write(told)
