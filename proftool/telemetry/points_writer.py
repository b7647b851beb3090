"""The service's metrics into the local store: every ten seconds, by one of its workers, off the request path.

What is written is the whole service, cumulative over all workers and beyond the end of each (workers.py), so that the process of a point is
the group: another worker may go on where the one that wrote was killed. The keeper's thread (service.py) writes; a store that cannot be
written to is told once, and what was counted meanwhile is in the next point.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from proftool.contracts_telemetry import Exemplar, MetricStore, Point
from proftool.errors import ProftoolError
from proftool.telemetry import service as services
from proftool.telemetry.points import Sample

_LOG = logging.getLogger("proftool.telemetry")
EVERY_S = 10.0
AGE_NS = 60_000_000_000
_KINDS = {"counter": "counter", "gauge": "gauge", "updown": "gauge", "histogram": "histogram", "exponential": "histogram"}


class PointsWriter:
    """Writes from now on, in every worker that is forked too; `stop` writes once more and ends."""

    def __init__(
        self,
        name: str,
        store: MetricStore,
        *,
        quietly: Callable[[], AbstractContextManager[None]] = nullcontext,
        every_s: float = EVERY_S,
    ) -> None:
        """Args: quietly: a block in which the store's own queries are no part of what the service does."""
        self._name, self._store, self._quietly = name, store, quietly
        self._written_ns = self._aged_ns = 0
        self._has_failed = False
        services.setup(name)
        self._end = services.subscribe(self.write, every_s=every_s)

    def write(self, samples: Sequence[Sample], time_ns: int) -> None:
        """Add the samples; age what is old once a minute."""
        with self._quietly():
            try:
                self._store.add_points(self._points(samples, time_ns))
                self._written_ns, self._has_failed = time_ns, False
                if time_ns - self._aged_ns >= AGE_NS:
                    self._aged_ns = time_ns
                    self._store.roll_up(time_ns)
            except ProftoolError as error:
                if not self._has_failed:  # once, until it works again: a full disk would fill the log as well
                    _LOG.warning("the metrics of %s cannot be stored: %s", self._name, error)
                self._has_failed = True

    def stop(self) -> None:
        """Write what was counted since, if this worker is the one that writes, and end; again changes nothing."""
        services.end_with_last_word(self.write, self._end)

    def _points(self, samples: Sequence[Sample], time_ns: int) -> list[Point]:
        found = services.service()
        folder = found.folder if found is not None else None
        process = f"{socket.gethostname()}:{folder.name if folder is not None else os.getpid()}"
        return [
            Point(
                service=self._name,
                process=process,
                name=sample.description.name,
                kind=_KINDS[sample.description.kind],
                unit=sample.description.unit,
                labels=sample.labels,
                time_ns=time_ns,
                start_ns=found.since_ns if found is not None and sample.description.kind not in ("gauge", "updown") else None,
                value=sample.value,
                counts=sample.counts,
                edges=sample.description.edges,
                exemplars=self._exemplars(sample),
            )
            for sample in samples
        ]

    def _exemplars(self, sample: Sample) -> tuple[Exemplar, ...]:
        """Those that came since the last time."""
        new = sorted((one for _, one in sample.exemplars if one.time_ns > self._written_ns), key=lambda one: one.time_ns)
        return tuple(Exemplar(one.time_ns, f"{one.trace_id:032x}", f"{one.span_id:016x}", one.value) for one in new)
