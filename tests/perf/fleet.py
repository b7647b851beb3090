"""Ten million facts in the engine and what is asked of them, in s: `PYTHONPATH=tests python -m perf.fleet [ROWS [FOLDER]]`.

One service, forty processes of two versions over one hour, a slice a minute, stacks of 10 to 40 frames over 3,000 places in the code,
four quantities. The rows are made in the engine out of stacks that were sent as a service sends them. chdb is the engine of the server
in this process; a server on another machine adds its network.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from proftool.contracts_telemetry import Slice
from proftool.model.builder import ProfileBuilder
from proftool.model.compare import diff
from proftool.model.meta import Meta, Pass
from proftool.model.profile import CPU_TIME, SAMPLES, WAITING_TIME, WALL_TIME, Category, Profile
from proftool.store.fleet.facts import Source
from proftool.store.fleet.flames import FlameQuery
from proftool.store.fleet.fleet import Fleet

T = TypeVar("T")
MINUTE_NS = 60 * 10**9
STACKS = 20_000
PROCESSES = 40


def profile(seed: int, n_stacks: int) -> Profile:
    """What one process did in a minute."""
    chance = random.Random(seed)
    builder = ProfileBuilder([replace(metric, mode="sample") for metric in (WALL_TIME, WAITING_TIME, SAMPLES, CPU_TIME)])
    lane = builder.lane(pid=seed, tid=seed, process_name="main", task="GET /orders/{id}", is_main=True)
    functions = [
        builder.function(
            f"Class{n % 40}.function_{n}",
            module=f"shop.part{n % 60}",
            file=f"shop/part{n % 60}.py",
            first_line=n,
            category=Category.PROJECT,
        )
        for n in range(1500)
    ]
    frames = [builder.frame(function, line) for function in functions for line in (1, 2)]
    for _ in range(n_stacks):
        # Each place in the code calls a few others, some of them more often.
        path = [0]
        for _ in range(chance.randrange(10, 40)):
            path.append((path[-1] * 31 + int(chance.expovariate(1.5)) * 7 + len(path)) % len(frames))
        node = builder.stack(frames[at] for at in path)
        for metric, value in enumerate((20_000_000, 5_000_000, 2, 15_000_000)):
            builder.add(node, lane, metric, value)
    one = Pass(mode="sample", backend="proftool", clock="wall", rate_asked_hz=100.0, duration_ns=MINUTE_NS, attached=True)
    return builder.build(Meta(passes=(one,), python="CPython 3.11.7"))


def timed(what: str, action: Callable[[], T], times: int = 5) -> T:
    """Run it; print the shortest time, and the CPU time of that: the engine's threads are this process's."""
    taken: list[tuple[float, float]] = []
    for _ in range(times):
        begin, cpu = time.perf_counter(), time.process_time()
        result = action()
        taken.append((time.perf_counter() - begin, time.process_time() - cpu))
    wall, cpu = min(taken)
    print(f"{what:52} {wall:7.2f} s  {cpu:7.2f} s of CPU", flush=True)
    return result


def filled(fleet: Fleet, rows: int, hour: int) -> None:
    """Put the facts in."""
    fleet.set_up()
    sent = [Slice(service="shop", pid=1, start_ns=hour, end_ns=hour + MINUTE_NS, samples=6000, profile=profile(1, STACKS))]
    source = Source(version="1", host="a")
    timed(f"send a slice of {STACKS:,} stacks, all of them new", lambda: fleet.send(sent, source, batch="first"), 1)
    usual = [replace(sent[0], profile=profile(1, 400))]
    fleet.send(usual, source, batch="known")
    timed("send a slice of 400 stacks", lambda: fleet.send(usual, source, batch=str(time.time_ns())))
    at = f"`{fleet.engine.database}`"
    for table in ("samples", "observations", "sample_hours", "observation_hours"):
        fleet.engine.do(f"TRUNCATE TABLE {at}.{table}")
    for part in range(10):
        fleet.engine.do(
            f"INSERT INTO {at}.samples SELECT 'shop', arrayElement(['wall_time', 'waiting_time', 'samples', 'cpu_time'], "
            f"1 + number % 4), {hour} + intDiv(number, 4) % 60 * {MINUTE_NS}, if(number % 3 = 0, '2', '1'), 'a', number % {PROCESSES}, "
            f"'GET /orders/{{id}}', id, 1000000 + number % 1000 FROM "
            f"(SELECT number, cityHash64(number, {part}) % (SELECT count() FROM {at}.stacks) AS at FROM numbers({rows // 10})) AS row "
            f"INNER JOIN (SELECT id, rowNumberInAllBlocks() AS at FROM {at}.stacks) AS known ON row.at = known.at"
        )
    fleet.engine.do(
        f"INSERT INTO {at}.observations SELECT 'shop', {hour} + number % 60 * {MINUTE_NS}, if(number % 3 = 0, '2', '1'), 'a', "
        f"number % {PROCESSES}, 'proftool', 'CPython 3.11.7', 100, {MINUTE_NS}, 5400, 6000, 0, 0, 0 FROM numbers({PROCESSES * 60})"
    )


def measured(fleet: Fleet, hour: int) -> None:
    """Ask."""
    counted, size = fleet.engine.ask(
        "SELECT sum(rows), sum(bytes_on_disk) FROM system.parts WHERE active AND database = {database:String} AND table = 'samples'",
        2,
        {"database": fleet.engine.database},
    )
    print(f"{counted[0]:,} facts, {int(str(size[0])) / int(str(counted[0])):.1f} bytes each on disk")
    last = FlameQuery(service="shop", since_ns=hour, until_ns=hour + 60 * MINUTE_NS - 1)
    whole = timed("one flame graph of the hour, from the facts", lambda: fleet.flame(last))
    assert whole is not None
    print(f"    {len(whole.nodes):,} nodes, {len(whole.functions):,} functions")
    timed("the same from hourly sums", lambda: fleet.flame(replace(last, until_ns=hour + 60 * MINUTE_NS)))
    timed("one version's", lambda: fleet.flame(replace(last, version="2")))
    groups = "both versions in twelve groups of processes each"
    sides = timed(groups, lambda: [fleet.by_process(replace(last, version=v), 12) for v in "12"], 2)
    timed("the diff of these", lambda: diff(sides[0], sides[1]), 1)
    timed("services", lambda: fleet.services(0))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def main(rows: int, folder: Path) -> None:
    fleet = Fleet(f"chdb://{folder}/engine")
    told = folder / "hour"
    if not told.exists():
        hour = time.time_ns() // (60 * MINUTE_NS) * 60 * MINUTE_NS - 60 * MINUTE_NS
        filled(fleet, rows, hour)
        told.write_text(str(hour))
    measured(fleet, int(told.read_text()))
    fleet.close()


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    if len(sys.argv) > 2:
        main(wanted, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as name:
            main(wanted, Path(name))
