"""Watch this process as a service: `proftool.watch("shop")` opens the project's store and hands it to the telemetry."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

from proftool import settings
from proftool.errors import UsageError
from proftool.units import NS_PER_S

if TYPE_CHECKING:
    from proftool.contracts_incidents import Version
    from proftool.telemetry.alerts import Listener
    from proftool.telemetry.incidents import Watched
    from proftool.telemetry.rules import Rule
    from proftool.telemetry.spans import Keep
    from proftool.telemetry.tracing_start import Options, Watching

TOKEN = "PROFTOOL_RECORD_TOKEN"
PACKAGES = (
    "aiohttp", "anyio", "asyncpg", "django", "fastapi", "flask", "gunicorn", "httpx", "mysqlclient", "psycopg", "psycopg2", "pydantic",
    "pymysql", "redis", "requests", "sqlalchemy", "starlette", "uvicorn", "werkzeug",
)  # fmt: skip
"""What services are made of; an incident keeps the versions of those that are loaded."""


def watch(service: str, *, options: Options | None = None, otlp: str | bool = False) -> Watching:
    """
    Keep traces, profiles, findings and metrics of this process in the project's store, until it ends. Where the setting `fleet` names a
    place, its profiles are sent there too.

    Args:
        service: its name for people; the same for all of its workers.
        options: what is kept, watched and tracked; `PROFTOOL_RECORD_TOKEN` stands for `record_token` where that is not set.
        otlp: also send kept spans over OTLP: to that URL, or with True to where OpenTelemetry's environment variables say.

    Raises:
        UsageError: no name, no exporter is installed, `fleet` names nothing that profiles can be sent to, or a rule of
            `[tool.proftool.alerts]` or `slo` cannot be read.
        StoreError: there is no place for a store.
    """
    from dataclasses import replace

    from proftool.launch.git import describe
    from proftool.store import open_incidents, open_metrics, open_store, open_telemetry
    from proftool.telemetry import tracing_start
    from proftool.telemetry.service import setup
    from proftool.telemetry.spans_export import OtlpExporter
    from proftool.workflows.fleet import slice_writer

    if not service.strip():
        raise UsageError("a service needs a name", cause="what is kept is found by it", fix='`proftool.watch("shop")`')
    found = settings.load()
    chosen = options or tracing_start.Options()
    if chosen.record_token is None:
        chosen = replace(chosen, record_token=os.environ.get(TOKEN) or None)
    if chosen.project is None:
        chosen = replace(chosen, project=found.project)
    if chosen.keep_s is None:
        chosen = replace(chosen, keep_s=found.trace_days * 86_400)
    if chosen.git is None:
        chosen = replace(chosen, git=describe(found.cwd))
    watched = _watched(chosen, found)
    setup(service=service)
    exporters = [OtlpExporter(otlp if isinstance(otlp, str) else None)] if otlp else []
    watching = tracing_start.watch(
        service,
        open_telemetry(found),
        open_store(found),
        open_metrics(found),
        options=replace(chosen, alerts=watched, keep=_kept(chosen.keep, watched.rules or ())),
        exporters=exporters,
        incidents=open_incidents(found),
        listeners=_listeners(found),
        slices_to=slice_writer(service, found, chosen.git) if chosen.sampler else None,
    )
    atexit.register(watching.stop)
    _stop_on_sigterm(watching)
    return watching


def _watched(options: Options, found: settings.Settings) -> Watched:
    """The rules asked for, else those of the project, and what runs here."""
    from dataclasses import replace

    from proftool.telemetry.incidents import Watched
    from proftool.telemetry.rules import load_rules

    watched, file = options.alerts or Watched(), settings.nearest(found.cwd, "pyproject.toml")
    rules = watched.rules if watched.rules is not None else load_rules(file) if file else ()
    return replace(watched, rules=rules, link=watched.link or found.dashboard, version=_version(options))


def _kept(keep: Keep, rules: Sequence[Rule]) -> Keep:
    """What a rule calls slow is kept as slow, where nobody said otherwise."""
    from dataclasses import replace

    from proftool.telemetry.rules import Slo, Threshold
    from proftool.telemetry.spans import Keep
    from proftool.telemetry.windows import REQUESTS

    if keep != Keep():
        return keep
    limits = [rule.above for rule in rules if isinstance(rule, Threshold) and rule.metric == REQUESTS and rule.measure.startswith("p")]
    limits += [rule.latency_s for rule in rules if isinstance(rule, Slo)]
    return replace(keep, slow_ns=min([keep.slow_ns, *(round(limit * NS_PER_S) for limit in limits if limit)]))


def _version(options: Options) -> Version:
    import platform
    import sys
    from importlib import metadata

    from proftool.contracts_incidents import Version

    versions: dict[str, str] = {}
    for name in ("proftool", *PACKAGES):
        if name.replace("-", "_") in sys.modules:
            with contextlib.suppress(metadata.PackageNotFoundError):  # run from a checkout
                versions[name] = metadata.version(name)
    git = options.git
    return Version(
        commit=git.commit if git else None,
        branch=git.branch if git else None,
        dirty=git.dirty if git else None,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        host=platform.node() or None,
        proftool=versions.pop("proftool", None),
        packages=tuple(versions.items()),
    )


def _listeners(found: settings.Settings) -> list[Listener]:
    from proftool.telemetry.notify import Webhook, to_log

    return [to_log, *([Webhook(found.webhook)] if found.webhook else [])]


def _stop_on_sigterm(watching: Watching) -> None:
    """Write what waits before the default action of SIGTERM: uvicorn ends by raising the signal again, and no exit handler runs then."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return

    def end(number: int, _frame: FrameType | None) -> None:
        watching.stop()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)
