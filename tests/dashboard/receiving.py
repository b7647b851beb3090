"""A running `proftool serve` that telemetry is sent to, the stores of its project, and bodies to send."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from proftool import settings
from proftool.contracts_telemetry import PointQuery, Series
from proftool.store import open_logs, open_metrics, open_telemetry
from proftool.units import NS_PER_S

MINUTE = 60 * NS_PER_S


class Receiving:
    """The server of a new project in that folder."""

    def __init__(self, folder: Path, *words: str, prelude: str = "") -> None:
        (folder / "pyproject.toml").touch()
        self.folder = folder
        env = {key: value for key, value in os.environ.items() if not key.startswith(("PROFTOOL_", "OTEL_"))}
        program = ["-c", f"{prelude}\nimport sys\nfrom proftool.cli.app import entry\nsys.argv[0] = 'proftool'\nentry()"]
        command = [sys.executable, *(program if prelude else ["-m", "proftool"]), "serve", "--no-browser", *words]
        self.process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, self.process.stderr.read() if self.process.stderr else ""
        self.base, _, self.token = self.url.partition("/?token=")
        self.client = httpx.Client(verify=False, timeout=60, limits=httpx.Limits(max_keepalive_connections=32))
        found = settings.load(folder, environ={})
        self.spans, self.metrics, self.logs = open_telemetry(found), open_metrics(found), open_logs(found)

    def post(self, path: str, content: bytes, kind: str = "application/x-protobuf", **headers: str) -> httpx.Response:
        """One request."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(f"{self.base}{path}", content=content, headers={"content-type": kind, **named})

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        self.process.kill()
        self.process.communicate(timeout=120)

    def end(self) -> str:
        """In order; what it had to say."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, told = self.process.communicate(timeout=120)
        return told


def spans_body(service: str, first: int, count: int) -> bytes:
    """Spans numbered from `first`, by their ids."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    scope = resource.scope_spans.add()
    now = time.time_ns()
    for number in range(first, first + count):
        scope.spans.add(
            trace_id=(number + 1).to_bytes(16, "big"), span_id=(number + 1).to_bytes(8, "big"), name="work", kind=2,
            start_time_unix_nano=now, end_time_unix_nano=now + 1000,
        )  # fmt: skip
    return request.SerializeToString()


def counter_body(service: str, value: int, *, time_ns: int, series: int = 1, start_ns: int) -> bytes:
    """A cumulative counter `n`."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    metric = resource.scope_metrics.add().metrics.add(name="n", unit="1")
    metric.sum.is_monotonic, metric.sum.aggregation_temporality = True, 2
    for number in range(series):
        point = metric.sum.data_points.add(time_unix_nano=time_ns, start_time_unix_nano=start_ns, as_int=value)
        point.attributes.add(key="series").value.int_value = number
    return request.SerializeToString()


def lately(receiving: Receiving, service: str, name: str | None = None) -> dict[str, Series]:
    """What a service counted, by name."""
    now = time.time_ns()
    query = PointQuery(service=service, name=name, since_ns=now - 10 * MINUTE, until_ns=now + MINUTE, step_ns=11 * MINUTE)
    return {found.name: found for found in receiving.metrics.find_series(query)}
