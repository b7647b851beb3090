"""Watch this process as a service: `proftool.watch("shop")` opens the project's store and hands it to the telemetry."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING

from proftool import settings
from proftool.errors import UsageError

if TYPE_CHECKING:
    from proftool.telemetry.tracing_start import Options, Watching

TOKEN = "PROFTOOL_RECORD_TOKEN"


def watch(service: str, *, options: Options | None = None, otlp: str | bool = False) -> Watching:
    """
    Keep traces, metrics, profiles and findings of this process in the project's store, until it ends.

    Args:
        service: its name for people; the same for all of its workers.
        options: what is kept, watched and tracked; `PROFTOOL_RECORD_TOKEN` stands for `record_token` where that is not set.
        otlp: also send kept spans over OTLP: to that URL, or with True to where OpenTelemetry's environment variables say.

    Raises:
        UsageError: no name, or no exporter is installed.
        StoreError: there is no place for a store.
    """
    from dataclasses import replace

    from proftool.store import open_metrics, open_store, open_telemetry
    from proftool.telemetry import tracing_start
    from proftool.telemetry.points_keep import keep_points
    from proftool.telemetry.spans_export import OtlpExporter

    if not service.strip():
        raise UsageError("a service needs a name", cause="what is kept is found by it", fix='`proftool.watch("shop")`')
    found = settings.load()
    chosen = options or tracing_start.Options()
    if chosen.record_token is None:
        chosen = replace(chosen, record_token=os.environ.get(TOKEN) or None)
    if chosen.project is None:
        chosen = replace(chosen, project=found.project)
    exporters = [OtlpExporter(otlp if isinstance(otlp, str) else None)] if otlp else []
    watching = tracing_start.watch(service, open_telemetry(found), open_store(found), options=chosen, exporters=exporters)
    watching.on_stop.append(keep_points(service, open_metrics(found), watching.tracing.writer))
    atexit.register(watching.stop)
    _stop_on_sigterm(watching)
    return watching


def _stop_on_sigterm(watching: Watching) -> None:
    """Write what waits before the default action of SIGTERM: uvicorn ends by raising the signal again, and no exit handler runs then."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return

    def end(number: int, _frame: FrameType | None) -> None:
        watching.stop()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)
