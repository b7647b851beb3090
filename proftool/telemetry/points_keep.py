"""The service's own metrics into the local store, every few seconds: what the dashboard's rates and latencies are made of.

One of the workers writes for all, as their totals are read together; when it dies another goes on with the same totals under the same name,
so that nothing counts twice. An exponential histogram is kept by whole powers of two, an eighth of its buckets, each count exact.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Sequence

from proftool.contracts_telemetry import Exemplar, MetricStore, Point
from proftool.errors import ProftoolError
from proftool.telemetry import workers
from proftool.telemetry.points import Sample
from proftool.telemetry.segments import EXPONENTIAL_BOUNDS, EXPONENTIAL_SCALE
from proftool.telemetry.service import setup, subscribe
from proftool.telemetry.spans_writer import Writer

EVERY_S = 5.0
ROLL_UP_S = 600.0
_LOG = logging.getLogger("proftool.telemetry")
_FOLD = 1 << EXPONENTIAL_SCALE
_POWERS = EXPONENTIAL_BOUNDS[::_FOLD]


def keep_points(service: str, store: MetricStore, writer: Writer, *, every_s: float = EVERY_S) -> Callable[[], None]:
    """Store the service's samples every so often; returns what stores the last ones and ends that."""
    folder = setup(service).folder
    leader = workers.leader_pid()
    process = f"{socket.gethostname()}:{folder.name if folder else leader}"
    started_ns = _started_ns(leader)
    rolled = [time.monotonic()]

    def keep(samples: Sequence[Sample], time_ns: int) -> None:
        with writer.quietly():
            try:
                store.add_points([point(sample, service, process, started_ns, time_ns) for sample in samples])
                if time.monotonic() - rolled[0] >= ROLL_UP_S:
                    rolled[0] = time.monotonic()
                    store.roll_up(time_ns)
            except ProftoolError as error:
                _LOG.warning("metrics of this service cannot be stored; it is tried again in %g s: %s", every_s, error)

    end = subscribe(keep, every_s=every_s)

    def stop() -> None:
        from proftool.telemetry.service import flush

        flush()
        end()

    return stop


def point(sample: Sample, service: str, process: str, started_ns: int | None, time_ns: int) -> Point:
    """A sample as the store has it."""
    of = sample.description
    counts, edges = (_powers(sample.counts), _POWERS) if of.kind == "exponential" else (sample.counts, of.edges)
    return Point(
        service=service,
        process=process,
        name=of.name,
        # What goes up and down is summed over the workers already: its value is a reading.
        kind="histogram" if of.buckets else "counter" if of.kind == "counter" else "gauge",
        unit=of.unit,
        labels=tuple(sorted(sample.labels)),
        time_ns=time_ns,
        start_ns=started_ns,
        value=sample.value,
        counts=counts,
        edges=edges,
        exemplars=tuple(
            Exemplar(one.time_ns, f"{one.trace_id:032x}", f"{one.span_id:016x}", one.value)
            for _, one in sorted(sample.exemplars, key=lambda pair: pair[1].time_ns)
        ),
    )


def _powers(counts: Sequence[int]) -> tuple[int, ...]:
    folded = [0] * (len(_POWERS) + 1)
    for index, count in enumerate(counts):
        if count:
            folded[min(-(-index // _FOLD), len(_POWERS))] += count
    return tuple(folded)


def _started_ns(pid: int) -> int | None:
    """When the group's first process began, the same for all of its workers."""
    import psutil

    try:
        return int(psutil.Process(pid).create_time() * 1e9)
    except psutil.Error:
        return None
