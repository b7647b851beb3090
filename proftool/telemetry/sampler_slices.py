"""From the sampler's stacks to profiles: a slice of time with a lane for each thread and route, a trace with a lane for each span.

The lane's `task` is the route (`GET /orders/{id}`) or the span's id: `of_route` and `of_span` take these lanes out of a slice, so that
a flame graph of a route, of a slow request and of a span is the flame graph of a profile like any other. Slices of several processes and
minutes become one by `model.merge`.

Runs in the writer's thread, once a slice. numpy, the model and the identification of functions are imported then, not before.
"""

from __future__ import annotations

import os
import platform
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, NamedTuple

from proftool.contracts_telemetry import Slice, TelemetryStore
from proftool.errors import ProftoolError
from proftool.telemetry.sampler import Gathered, Sampler, Stack, Tagged
from proftool.telemetry.slices_writer import SliceWriter
from proftool.telemetry.spans import LocalTrace
from proftool.telemetry.tags_code import here
from proftool.units import NS_PER_S

if TYPE_CHECKING:
    from proftool.formats.identity import Identifier
    from proftool.model.builder import ProfileBuilder
    from proftool.model.meta import Git
    from proftool.model.profile import Profile

SLICE_S = 60.0
BACKEND = "proftool"


class Lines:
    """(code object, instruction) -> line; a code's table is read once."""

    def __init__(self) -> None:
        self._tables: OrderedDict[int, tuple[CodeType, list[tuple[int, int, int]]]] = OrderedDict()

    def line(self, code: CodeType, instruction: int) -> int:
        """The line, the first of the function where its table has none."""
        held = self._tables.get(id(code))
        if held is None:
            table = [(start, end, line) for start, end, line in code.co_lines() if line is not None]
            held = self._tables[id(code)] = (code, table)
            if len(self._tables) > 5000:
                self._tables.popitem(last=False)
        for start, end, line in held[1]:
            if start <= instruction < end:
                return line
        return code.co_firstlineno


class Slicer:
    """Takes what the sampler saw, builds slices, and stores them."""

    def __init__(
        self,
        service: str,
        store: TelemetryStore,
        sampler: Sampler,
        *,
        every_s: float = SLICE_S,
        project: Path | None = None,
        also: SliceWriter | None = None,
        git: Git | None = None,
    ) -> None:
        self._service, self._store, self._sampler, self._also = service, store, sampler, also
        self._every_ns = int(every_s * NS_PER_S)
        self._project, self._git = project or Path(here()), git
        self._lines = Lines()
        self._has_failed = False
        self._who: Identifier | None = None
        self._due_ns = time.monotonic_ns() + self._every_ns
        self._is_ready = False

    def beat(self) -> None:
        """A slice, if it is time."""
        if not self._is_ready:
            # What profiles are built with takes a quarter of a second to import: at the start, and not with the first slow request.
            self._builder()
            self._is_ready = True
        if time.monotonic_ns() >= self._due_ns:
            self.store_slice()

    def hurry(self) -> None:
        """The slice under way ends with the next beat."""
        self._due_ns = 0

    def store_slice(self) -> Slice | None:
        """What was seen since the last one; None where nothing was."""
        self._due_ns = time.monotonic_ns() + self._every_ns
        gathered = self._sampler.take()
        if not gathered.samples:
            return None
        made = self.slice(gathered)
        self._add(made)
        if self._also is not None:
            self._also.put(made)
        return made

    def kept(self, local: LocalTrace) -> None:
        """A trace is kept: so are its samples."""
        samples, codes, names = self._sampler.of_trace(local.trace_id)
        if samples:
            entry = local.entry
            self._add(
                Slice(
                    service=self._service,
                    pid=os.getpid(),
                    start_ns=entry.start_ns,
                    end_ns=max(entry.end_ns, entry.start_ns),
                    samples=len(samples),
                    trace_id=f"{local.trace_id:032x}",
                    route=local.route,
                    profile=self.trace(samples, codes, names, entry.start_ns, entry.end_ns - entry.start_ns),
                )
            )

    def _add(self, made: Slice) -> None:
        try:
            self._store.add_slices([made])
            self._has_failed = False
        except ProftoolError as error:
            import logging

            if not self._has_failed:  # once, until it works again: a full disk would fill the log as well
                logging.getLogger("proftool.telemetry").warning("a profile of this service cannot be stored: %s", error)
            self._has_failed = True

    # --- profiles ---------------------------------------------------------------------------------------------------------

    def slice(self, gathered: Gathered) -> Slice:
        """A stretch of time as a profile, a lane for each thread and route."""
        builder, stacks = self._builder()
        lanes: dict[tuple[int, str | None], int] = {}
        for (thread, route, stack), seen in gathered.seen.items():
            lane = lanes.get((thread, route))
            if lane is None:
                lane = lanes[thread, route] = _lane(builder, gathered.names.get(thread), thread, route or "")
            node = stacks(stack, gathered.codes)
            for metric, value in enumerate((seen.wall_ns, seen.waiting_ns, seen.samples, seen.cpu_ns)):
                builder.add(node, lane, metric, value)
        rate_hz = self._sampler.rate_hz
        profile = builder.build(
            self._meta(gathered.started_ns, gathered.duration_ns, gathered.samples, rate_hz, gathered.missed, gathered.cpu_ns)
        )
        return Slice(
            service=self._service,
            pid=os.getpid(),
            start_ns=gathered.started_ns,
            end_ns=gathered.started_ns + gathered.duration_ns,
            samples=gathered.samples,
            profile=profile,
        )

    def trace(
        self,
        samples: Sequence[Tagged],
        codes: dict[int, CodeType],
        names: dict[int, tuple[int | None, str]],
        started_ns: int,
        duration_ns: int,
    ) -> Profile:
        """One trace's samples as a profile with its timeline, a lane for each thread and span."""
        from proftool.model.profile import Status

        builder, stacks = self._builder()
        lanes: dict[tuple[int, int], int] = {}
        offset_ns = time.time_ns() - time.perf_counter_ns()
        for sample in samples:
            key = (sample.thread, sample.span_id)
            lane = lanes.get(key)
            if lane is None:
                lane = lanes[key] = _lane(builder, names.get(sample.thread), sample.thread, f"{sample.span_id:016x}")
            node = stacks(sample.stack, codes)
            waits = sample.cpu_ns is not None and sample.cpu_ns * 10 < sample.weight_ns
            values = (sample.weight_ns, sample.weight_ns if waits else 0, 1, sample.cpu_ns or 0)
            for metric, value in enumerate(values):
                builder.add(node, lane, metric, value)
            status = Status.WAITING if waits else Status.RUNNING if sample.cpu_ns is not None else Status.STATUS_UNKNOWN
            builder.sample(max(sample.at_ns + offset_ns - started_ns, 0), lane, node, sample.weight_ns, int(status))
        return builder.build(self._meta(started_ns, duration_ns, len(samples), self._sampler.rate_hz, 0, None))

    def _builder(self) -> tuple[ProfileBuilder, Callable[[Stack, dict[int, CodeType]], int]]:
        from dataclasses import replace

        from proftool.model.builder import ProfileBuilder
        from proftool.model.profile import CPU_TIME, SAMPLES, WAITING_TIME, WALL_TIME

        builder = ProfileBuilder([replace(metric, mode="sample") for metric in (WALL_TIME, WAITING_TIME, SAMPLES, CPU_TIME)])
        functions: dict[int, int] = {}
        nodes: dict[Stack, int] = {}

        def node_of(stack: Stack, codes: dict[int, CodeType]) -> int:
            known = nodes.get(stack)
            if known is not None:
                return known
            frames: list[int] = []
            depth = len(stack) // 2
            for index in range(depth - 1, -1, -1):
                code = codes[stack[index]]
                function = functions.get(stack[index])
                if function is None:
                    function = functions[stack[index]] = self._function(builder, code)
                frames.append(builder.frame(function, self._lines.line(code, stack[depth + index])))
            node = nodes[stack] = builder.stack(frames)
            return node

        return builder, node_of

    def _function(self, builder: ProfileBuilder, code: CodeType) -> int:
        """Row of a code object. Only the project's sources are opened: the interpreter tells all else."""
        from proftool.formats.identity import Identifier
        from proftool.model.profile import Category, Identified

        if self._who is None:
            self._who = Identifier(self._project, cwd=Path(here()))
        place = self._who.place(code.co_filename)
        if place.category is not Category.PROJECT:
            return builder.function(
                code.co_qualname,
                module=place.module,
                file=place.file,
                first_line=code.co_firstlineno,
                name=code.co_name,
                identified=Identified.TOOL,
                category=place.category,
            )
        return self._who.function(
            builder,
            file=code.co_filename,
            line=None,
            name=code.co_name,
            qualname=None if code.co_name == "<module>" else code.co_qualname,
            first_line=code.co_firstlineno,
        )

    def _meta(self, started_ns: int, duration_ns: int, samples: int, rate_hz: float, missed: int, overhead_ns: int | None):
        from proftool.model.meta import Meta, Pass

        return Meta(
            passes=(
                Pass(
                    mode="sample",
                    backend=BACKEND,
                    clock="wall",
                    rate_asked_hz=self._sampler.max_hz,
                    rate_achieved_hz=round(rate_hz, 1),
                    samples=samples,
                    missed=missed,
                    overhead_ns=overhead_ns,
                    started_ns=started_ns,
                    duration_ns=duration_ns,
                    attached=True,
                ),
            ),
            cwd=here(),
            project_root=str(self._project),
            python=f"{platform.python_implementation()} {platform.python_version()}",
            host=platform.node() or None,
            git=self._git,
        )


def _lane(builder: ProfileBuilder, name: tuple[int | None, str] | None, thread: int, task: str) -> int:
    native_id, text = name or (None, "")
    return builder.lane(
        pid=os.getpid(), tid=native_id if native_id is not None else thread, process_name="main", thread_name=text, task=task,
        is_main=native_id == os.getpid(),
    )  # fmt: skip


def of_route(slices: Iterable[Slice], route: str) -> Profile | None:
    """What served that route in all of these slices, as one profile; None where nothing did."""
    return _merged(_of_task(one.profile, route) for one in slices)


def of_span(slices: Iterable[Slice], span_id: str) -> Profile | None:
    """What ran in that span of a kept trace, as one profile; None where nothing was sampled."""
    return _merged(_of_task(one.profile, span_id) for one in slices)


def routes(slices: Iterable[Slice]) -> dict[str, int]:
    """Route -> wall time in ns that was sampled in it, most first."""
    from proftool.model.profile import ints

    found: dict[str, int] = {}
    for one in slices:
        profile = one.profile
        tasks = [profile.text(int(index)) for index in profile.lanes.task]
        cells = profile.cells
        wall = cells.metric == profile.metric_index("wall_time")
        for lane, value in zip(ints(cells.lane[wall]), ints(cells.value[wall]), strict=True):
            if tasks[lane]:
                found[tasks[lane]] = found.get(tasks[lane], 0) + value
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _of_task(profile: Profile, task: str) -> Profile | None:
    from proftool.model.profile import ints
    from proftool.model.select import only_lanes

    lanes = [row for row, index in enumerate(ints(profile.lanes.task)) if profile.text(index) == task]
    return only_lanes(profile, lanes) if lanes else None


def _merged(profiles: Iterable[Profile | None]) -> Profile | None:
    from proftool.model.merge import merge

    found = [profile for profile in profiles if profile is not None]
    return merge(found) if len(found) > 1 else found[0] if found else None


class Place(NamedTuple):
    """A place in the project's code that a stack runs through."""

    code: CodeType
    line: int


def innermost_project(stack: Stack, codes: dict[int, CodeType], lines: Lines) -> Place | None:
    """The innermost frame of the project's own code within the event loop; what started the loop only waits for it."""
    from proftool.telemetry.tags_code import is_project

    depth = len(stack) // 2
    for index in range(depth):
        code = codes.get(stack[index])
        if code is None:
            continue
        file = code.co_filename
        if file.endswith(_LOOP_FILES) and code.co_name in _LOOP_FUNCTIONS:
            return None
        if is_project(file):
            return Place(code, lines.line(code, stack[depth + index]))
    return None


_LOOP_FILES = (os.path.join("asyncio", "base_events.py"), os.path.join("asyncio", "runners.py"))
_LOOP_FUNCTIONS = ("run_forever", "run_until_complete", "run")
