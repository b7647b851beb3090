"""What works here and what does not, each with its cause and fix: backends, Python, tracing, the store, the viewer, services, settings."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from proftool import __version__, registry
from proftool.contracts import Available
from proftool.contracts_store import Run
from proftool.errors import ProftoolError
from proftool.settings import READERS, Settings, key

if TYPE_CHECKING:
    from proftool.store.repair import Finding
    from proftool.store.runs import SqlRunStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    group: str
    name: str
    state: str
    """`ok`, `missing` (something cannot be done) or `info`."""
    detail: str
    fix: str | None = None


def examine(settings: Settings, store: SqlRunStore | ProftoolError) -> tuple[Check, ...]:
    """Every check, nothing changed."""
    return (*_python(), *_backends(), *_tracing(), *_store(store), *_viewer(), *_services(), *_settings(settings))


def mend(store: SqlRunStore) -> list[Finding]:
    """Repair the store, and make runs of what killed recordings left."""
    from proftool.store.repair import repair
    from proftool.workflows.recover import recover

    return repair(store, recover=lambda folder: recover(folder, store))


def document(checks: Sequence[Check], mended: Sequence[Finding]) -> dict[str, object]:
    """The document proftool.doctor/1."""
    return {
        "schema": "proftool.doctor/1",
        "checks": [{"group": c.group, "name": c.name, "state": c.state, "detail": c.detail, "fix": c.fix} for c in checks],
        "repaired": [{"what": f.what, "mended": f.mended, "how": f.how} for f in mended],
    }


def _python() -> list[Check]:
    where = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    return [
        Check(group="python", name="proftool", state="ok", detail=__version__),
        Check(group="python", name="interpreter", state="ok", detail=where),
        Check(group="python", name="platform", state="info", detail=f"{platform.platform()}, {os.cpu_count() or 1} cores"),
    ]


def _backends() -> list[Check]:
    checks: list[Check] = []
    for name in registry.names("backend"):
        backend = registry.backend(name)
        there = backend.availability()
        if isinstance(there, Available):
            modes = ", ".join(sorted(backend.capabilities.modes))
            checks.append(Check(group="backends", name=name, state="ok", detail=f"{there.version} · {modes} · {backend.summary}"))
        else:
            checks.append(Check(group="backends", name=name, state="missing", detail=there.cause, fix=there.fix))
    return checks


def _tracing() -> list[Check]:
    """May one process read another, as `attach`, `dump` and `top` need?"""
    if not sys.platform.startswith("linux"):
        return []
    try:
        scope = int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except (OSError, ValueError):
        return [Check(group="tracing", name="ptrace_scope", state="ok", detail="the kernel has no Yama: own processes may be traced")]
    if scope == 0 or os.geteuid() == 0:
        return [Check(group="tracing", name="ptrace_scope", state="ok", detail=f"{scope}: running processes may be attached to")]
    fix = "`sudo sysctl kernel.yama.ptrace_scope=0`, or attach with sudo" if scope < 3 else "it cannot be changed until the next boot"
    detail = f"{scope}: only child processes may be traced; `run` works, `attach`, `dump` and `top` do not"
    return [Check(group="tracing", name="ptrace_scope", state="missing", detail=detail, fix=fix)]


def _store(store: SqlRunStore | ProftoolError) -> list[Check]:
    if isinstance(store, ProftoolError):
        return [Check(group="store", name="place", state="missing", detail=f"{store.what}: {store.cause}", fix=store.fix)]
    from proftool.contracts_store import RunQuery
    from proftool.store.repair import examine as examine_store
    from proftool.units import Unit, people

    checks = [Check(group="store", name="place", state="info", detail=store.place.notice or store.place.shown)]
    try:
        if not store.database.exists():
            return [*checks, Check(group="store", name="runs", state="ok", detail="no run yet")]
        runs: Sequence[Run] = store.find(RunQuery())
        checks.append(Check(group="store", name="runs", state="ok", detail=f"{len(runs)} runs, {people(store.size_bytes(), Unit.BYTES)}"))
        checks += [
            Check(group="store", name="health", state="missing", detail=f.what, fix="`proftool doctor --repair`")
            for f in examine_store(store)
        ]
    except ProftoolError as error:
        checks.append(Check(group="store", name="health", state="missing", detail=f"{error.what}: {error.cause}", fix=error.fix))
    return checks


def _viewer() -> list[Check]:
    spec = find_spec("proftool.viewer")
    folder = Path(spec.origin).parent / "dist" if spec is not None and spec.origin else None
    if folder is not None and folder.is_dir() and any(folder.iterdir()):
        return [Check(group="viewer", name="build", state="ok", detail="built")]
    return [
        Check(
            group="viewer",
            name="build",
            state="missing",
            detail="the viewer was not built when proftool was installed",
            fix="install proftool again where the npm registry answers",
        )
    ]


def _services() -> list[Check]:
    """What a watched service pays for a request depends on it, and nothing else."""
    if find_spec("proftool.telemetry._exchange") is not None:
        return [Check(group="services", name="requests", state="ok", detail="ASGI requests are followed by compiled code")]
    return [
        Check(
            group="services",
            name="requests",
            state="info",
            detail="ASGI requests are followed by Python alone, at a few µs more for each: no C compiler when proftool was installed",
            fix="install a C compiler and Python's headers, and proftool again",
        )
    ]


def _settings(settings: Settings) -> list[Check]:
    return [Check(group="settings", name=key(n), state="info", detail=f"{getattr(settings, n)} ({settings.origin(n)})") for n in READERS]
