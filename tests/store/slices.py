"""Slices of a service for tests, as its sampler makes them: a few functions below one another, values that are told apart."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

from proftool.contracts_telemetry import Slice
from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Meta, Pass
from proftool.model.profile import CPU_TIME, SAMPLES, WAITING_TIME, WALL_TIME, Category, Profile, ints
from proftool.store.fleet.facts import Source
from proftool.store.fleet.fleet import Fleet

MINUTE_NS = 60 * 10**9
HOUR_NS = 60 * MINUTE_NS
Paths = dict[tuple[tuple[tuple[str, int], ...], str], int]


def a_slice(
    start_ns: int, work_ms: Mapping[str, int], *, pid: int = 7, service: str = "shop", route: str = "GET /orders", threads: int = 1
) -> Slice:
    """A minute in which `handle` called the functions named; each ran for that long in every thread, a quarter of it waiting."""
    builder = ProfileBuilder([replace(metric, mode="sample") for metric in (WALL_TIME, WAITING_TIME, SAMPLES, CPU_TIME)])
    outer = [builder.frame(_function(builder, name, at), at) for at, name in enumerate(("main", "handle"), 1)]
    for thread in range(threads):
        lane = builder.lane(pid=pid, tid=pid + thread, process_name="main", task=route, is_main=not thread)
        for at, (name, milliseconds) in enumerate(work_ms.items(), 10):
            node = builder.stack([*outer, builder.frame(_function(builder, name, at * 10), at * 10 + 1)])
            wall_ns = milliseconds * 1_000_000
            for metric, value in enumerate((wall_ns, wall_ns // 4, max(milliseconds // 20, 1), wall_ns - wall_ns // 4)):
                builder.add(node, lane, metric, value)
    n_samples = threads * sum(max(one // 20, 1) for one in work_ms.values())
    one = Pass(
        mode="sample", backend="proftool", clock="wall", rate_asked_hz=100.0, rate_achieved_hz=90.0, samples=n_samples, missed=1,
        overhead_ns=1000, started_ns=start_ns, duration_ns=MINUTE_NS, attached=True,
    )  # fmt: skip
    profile = builder.build(Meta(passes=(one,), python="CPython 3.11.7", host="a"))
    return Slice(service=service, pid=pid, start_ns=start_ns, end_ns=start_ns + MINUTE_NS, samples=n_samples, profile=profile)


def _function(builder: ProfileBuilder, name: str, line: int) -> int:
    return builder.function(name, module="shop.orders", file="shop/orders.py", first_line=line, category=Category.PROJECT)


def paths(profiles: Sequence[Profile]) -> Paths:
    """(functions and lines from the root, metric) -> self value, of all of them together."""
    found: Paths = {}
    for profile in profiles:
        f, frames, nodes = profile.functions, profile.frames, profile.nodes
        told: list[tuple[tuple[str, int], ...]] = []
        for parent, frame in zip(ints(nodes.parent), ints(nodes.frame), strict=True):
            own = (profile.text(int(f.qualname[int(frames.function[frame])])), int(frames.line[frame]))
            told.append((*told[parent], own) if parent >= 0 else (own,))
        c = profile.cells
        for node, metric, value in zip(ints(c.node), ints(c.metric), ints(c.value), strict=True):
            key = told[node], profile.metrics[metric].name
            found[key] = found.get(key, 0) + value
    return found


def send(fleet: Fleet, slices: list[Slice], version: str = "1", host: str = "a") -> None:
    """Each as a batch of its own."""
    for one in slices:
        fleet.send([one], Source(version=version, host=host), batch=uuid.uuid4().hex)


def whole_hour(hours_ago: int) -> int:
    """Start of the hour that began so many hours before this one."""
    return (time.time_ns() // HOUR_NS - hours_ago) * HOUR_NS
