"""Profiles to what a company runs already: Pyroscope's push interface, and OTLP's profiles signal (v1development), both over HTTP.

    pyroscope+http://user:password@host:4040?tenant=team     POST /push.v1.PusherService/Push, as Pyroscope's own clients do
    otlp+http://host:4318                                    POST /v1development/profiles, any collector that takes the signal

`+https` for TLS. Headers of `OTEL_EXPORTER_OTLP_HEADERS` go with OTLP. A profile of several quantities is one series a name that
Pyroscope's own clients use: `wall`, `process_cpu`, `memory`. The messages are written by formats/, no generated code is imported.

Source: grafana/pyroscope, api/push/v1/push.proto; opentelemetry-proto, collector/profiles/v1development.
"""

from __future__ import annotations

import base64
import gzip
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from proftool.contracts_telemetry import Slice
from proftool.errors import StoreError, UsageError

if TYPE_CHECKING:
    from proftool.model.profile import Profile

TIMEOUT_S = 30.0
_KINDS = ("pyroscope+http", "pyroscope+https", "otlp+http", "otlp+https")
_SERIES = {
    "wall": ("wall_time", "waiting_time", "preempted_time", "samples", "calls"),
    "process_cpu": ("cpu_time",),
    "memory": ("allocated_bytes", "allocations", "temporary_allocations", "peak_bytes", "leaked_bytes"),
}
"""Name of a series -> metrics that stand in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Whose profile it is."""

    service: str
    version: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A request that is ready to be sent."""

    url: str
    content: bytes
    headers: Mapping[str, str]


class Receiver:
    """A server that takes profiles; a SliceTarget."""

    def __init__(self, url: str, about: About) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _KINDS or not parts.hostname:
            raise UsageError(
                f"`{parts.scheme}://{parts.netloc.rpartition('@')[2]}` takes no profiles",
                cause="profiles are sent to Pyroscope or over OTLP",
                fix="write `pyroscope+http://host:4040` or `otlp+http://host:4318`",
            )
        self._kind, _, scheme = parts.scheme.partition("+")
        self._about = about
        self._headers: dict[str, str] = {"User-Agent": "proftool"}
        if parts.username:
            both = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(both.encode()).decode()
        asked = dict(parse_qsl(parts.query))
        if tenant := asked.get("tenant"):
            self._headers["X-Scope-OrgID"] = tenant
        path = parts.path.rstrip("/")
        if self._kind == "pyroscope":
            path += "/push.v1.PusherService/Push"
        elif not path:
            path = "/v1development/profiles"
        self.url = f"{scheme}://{parts.netloc.rpartition('@')[2]}{path}"

    def posts(self, profile: Profile) -> list[Post]:
        """What is sent for a profile."""
        if self._kind == "pyroscope":
            headers = self._headers | {"Content-Type": "application/proto", "Content-Encoding": "gzip", "Connect-Protocol-Version": "1"}
            return [Post(url=self.url, content=gzip.compress(pushed(profile, self._about), 6), headers=headers)]
        headers = self._headers | _otlp_headers() | {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
        return [Post(url=self.url, content=gzip.compress(exported(profile, self._about), 6), headers=headers)]

    def send_profile(self, profile: Profile) -> None:
        """Send one profile; StoreError where it is not taken."""
        for one in self.posts(profile):
            post(one)

    def send(self, slices: Sequence[Slice], *, batch: str, lost: int) -> None:
        """Send slices, each a profile of its own; what was lost is the writer's to say, neither protocol has a place for it."""
        del batch, lost
        for one in slices:
            self.send_profile(one.profile)

    def close(self) -> None:
        """Nothing stays open."""


def pushed(profile: Profile, about: About) -> bytes:
    """A `PushRequest` of one pprof profile a series."""
    from proftool.formats.pprof import format as pprof
    from proftool.formats.wire import put_bytes

    out: list[bytes] = []
    for name, metrics in _SERIES.items():
        part = _only(profile, metrics, clock="cpu" if name == "process_cpu" else None)
        if part is None:
            continue
        labels = {"__name__": name, "service_name": about.service, "service_version": about.version, "hostname": about.host}
        labels = {key: value for key, value in labels.items() if value}
        pairs = b"".join(put_bytes(1, put_bytes(1, key.encode()) + put_bytes(2, _utf8(value))) for key, value in sorted(labels.items()))
        sample = put_bytes(1, pprof.write(part)) + put_bytes(2, str(uuid.uuid4()).encode())
        out.append(put_bytes(1, pairs + put_bytes(2, sample)))
    return b"".join(out)


def exported(profile: Profile, about: About) -> bytes:
    """An `ExportProfilesServiceRequest`."""
    from proftool.formats.otlp_writer import written

    resource = {"service.name": about.service, "service.version": about.version, "host.name": about.host}
    return written(profile, {key: value for key, value in resource.items() if value})


def _only(profile: Profile, names: Sequence[str], clock: str | None) -> Profile | None:
    """The profile with those of its metrics alone; None where it has none of them. `clock` is that of the samples' period."""
    import numpy as np

    from proftool.model.builder import table, with_tables
    from proftool.model.profile import Cells

    kept = [at for at, metric in enumerate(profile.metrics) if metric.name.rpartition(".")[2] in names]
    if not kept:
        return None
    to = np.full(len(profile.metrics), -1, np.int32)
    to[kept] = np.arange(len(kept), dtype=np.int32)
    rows = np.isin(profile.cells.metric, kept)
    columns = {name: column[rows] for name, column in profile.cells.columns().items()}
    cells = table(Cells, columns | {"metric": to[columns["metric"]]})
    part = with_tables(profile, {"cells": cells}, metrics=tuple(profile.metrics[at] for at in kept))
    if clock is None:
        return part
    return part.with_meta(replace(part.meta, passes=tuple(replace(one, clock=clock) for one in part.meta.passes)))


def post(one: Post) -> None:
    """Send a request; StoreError says what the server answered."""
    import urllib.error
    import urllib.request

    from opentelemetry import context
    from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as suppressed  # pyright: ignore[reportPrivateUsage]

    # What proftool sends is no part of the service that it watches.
    token = context.attach(context.set_value(suppressed, True))
    try:
        request = urllib.request.Request(one.url, one.content, dict(one.headers), method="POST")
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        told = " ".join(error.read(2000).decode("utf-8", "replace").split())
        fix = "check user and password in the URL" if error.code in (401, 403) else "check that the URL names a server that takes profiles"
        raise StoreError(
            f"`{one.url}` did not take the profile", cause=f"{error.code} {error.reason}: {told}".rstrip(": "), fix=fix
        ) from error
    except (OSError, ValueError) as error:
        raise StoreError(
            f"`{one.url}` cannot be reached",
            cause=str(getattr(error, "reason", error)),
            fix="check that the server runs and the URL names it",
        ) from error
    finally:
        context.detach(token)


def _otlp_headers() -> dict[str, str]:
    """`OTEL_EXPORTER_OTLP_PROFILES_HEADERS`, else `OTEL_EXPORTER_OTLP_HEADERS`: `name=value,name=value`, values percent-encoded."""
    told = os.environ.get("OTEL_EXPORTER_OTLP_PROFILES_HEADERS") or os.environ.get("OTEL_EXPORTER_OTLP_HEADERS") or ""
    pairs = (pair.partition("=") for pair in told.split(","))
    return {
        name.strip(): unquote(value.strip()) for name, equals, value in pairs if equals and re.fullmatch(r"[A-Za-z0-9_-]+", name.strip())
    }


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
