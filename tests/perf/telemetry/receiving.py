"""What `proftool serve` takes in over OTLP: spans and points at a steady rate, its memory and processor time, and what is missing then.

Run: `python tests/perf/telemetry/receiving.py [SECONDS] [SPANS_PER_S] [POINTS_PER_S]`; 600, 2,000 and 20,000 without. Twenty processes are
played, each with a thousand series (counters, gauges, histograms of 15 buckets) once a second, and one that sends spans of eight
attributes. A request that is turned away is sent again, as exporters do. docs/explanation/receiving.md keeps a table.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import psutil
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from proftool import settings
from proftool.contracts_telemetry import PointQuery
from proftool.store import open_metrics
from proftool.units import NS_PER_S

PROCESSES = 20
SPANS_A_REQUEST = 500
EDGES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class Process:
    """One that sends metrics: the message is made once, its numbers move."""

    def __init__(self, number: int, series: int) -> None:
        self.request = ExportMetricsServiceRequest()
        resource = self.request.resource_metrics.add()
        for name, value in (("service.name", f"service-{number % 4}"), ("service.instance.id", f"instance-{number}")):
            resource.resource.attributes.add(key=name).value.string_value = value
        scope = resource.scope_metrics.add()
        self.start_ns, self.sent = time.time_ns(), 0
        self.counters, self.gauges, self.bars = [], [], []
        for at in range(series):
            kind, of = ("sum", "gauge", "histogram")[0 if at % 10 < 5 else 1 if at % 10 < 8 else 2], at // 100
            if at % 100 < 10:
                metric = scope.metrics.add(name=f"{kind}.{of}.{at % 10}", unit="1")
                self.of = getattr(self, "of", {}) | {(of, at % 10): metric}
            metric = self.of[(of, at % 10)]
            if kind == "sum":
                metric.sum.is_monotonic, metric.sum.aggregation_temporality = True, 2
                point = metric.sum.data_points.add()
                self.counters.append(point)
            elif kind == "gauge":
                point = metric.gauge.data_points.add()
                self.gauges.append(point)
            else:
                metric.histogram.aggregation_temporality = 2
                point = metric.histogram.data_points.add(explicit_bounds=EDGES, bucket_counts=[0] * (len(EDGES) + 1))
                self.bars.append(point)
            point.start_time_unix_nano = self.start_ns
            for name, value in (("http.route", f"/route/{at}"), ("http.request.method", "GET"), ("http.response.status_code", "200")):
                point.attributes.add(key=name).value.string_value = value

    def content(self) -> bytes:
        """The next export."""
        self.sent += 1
        now = time.time_ns()
        for point in self.counters:
            point.time_unix_nano, point.as_int = now, self.sent * 3
        for point in self.gauges:
            point.time_unix_nano, point.as_double = now, self.sent * 0.5
        for point in self.bars:
            point.time_unix_nano, point.count, point.sum = now, self.sent * 2, self.sent * 0.3
            point.bucket_counts[5] = point.bucket_counts[6] = self.sent
        return self.request.SerializeToString()


class Spans:
    """One that sends spans."""

    def __init__(self) -> None:
        self.request = ExportTraceServiceRequest()
        resource = self.request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "service-0"
        scope = resource.scope_spans.add()
        self.sent = 0
        for at in range(SPANS_A_REQUEST):
            span = scope.spans.add(name="GET /orders/{id}", kind=2 if at % 10 == 0 else 3)
            for name in (
                "http.route",
                "http.request.method",
                "url.scheme",
                "server.address",
                "user_agent.original",
                "db.query.text",
                "thread",
            ):
                span.attributes.add(key=name).value.string_value = f"{name} of {at % 50}"
            span.attributes.add(key="http.response.status_code").value.int_value = 200
        self.spans = list(scope.spans)

    def content(self) -> bytes:
        """The next batch: traces of ten spans."""
        now = time.time_ns()
        for at, span in enumerate(self.spans):
            number = self.sent + at + 1
            span.trace_id, span.span_id = (number // 10 + 1).to_bytes(16, "big"), number.to_bytes(8, "big")
            span.parent_span_id = b"" if at % 10 == 0 else (number - at % 10).to_bytes(8, "big")
            span.start_time_unix_nano, span.end_time_unix_nano = now - 5_000_000, now
        self.sent += len(self.spans)
        return self.request.SerializeToString()


def post(client: httpx.Client, url: str, content: bytes, tally: dict[str, int]) -> None:
    """Until it is acknowledged."""
    while True:
        answer = client.post(url, content=content, headers={"content-type": "application/x-protobuf"})
        if answer.status_code == 200:
            assert not answer.content, answer.content
            return
        assert answer.status_code == 503, (answer.status_code, answer.content)
        tally["turned away"] += 1
        time.sleep(float(answer.headers["retry-after"]))


def paced(seconds: float, every_s: float, send: object) -> None:
    """Call it at that rate; what is late is made up for."""
    begin = time.monotonic()
    for at in range(round(seconds / every_s)):
        time.sleep(max(0.0, begin + at * every_s - time.monotonic()))
        send()  # type: ignore[operator]


def main(seconds: float, spans_per_s: int, points_per_s: int) -> None:
    """Print the table."""
    folder = Path(tempfile.mkdtemp(prefix="proftool-receiving-"))
    (folder / "pyproject.toml").touch()
    env = {key: value for key, value in os.environ.items() if not key.startswith("PROFTOOL_")}
    server = subprocess.Popen(
        [sys.executable, "-m", "proftool", "serve", "--no-browser"], cwd=folder, env=env, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    base, _, token = server.stdout.readline().strip().partition("/?token=")
    tally = {"turned away": 0}
    processes, spans = [Process(number, points_per_s // PROCESSES) for number in range(PROCESSES)], Spans()
    client = httpx.Client(timeout=120)
    seen = psutil.Process(server.pid)
    pages: list[float] = []
    memory: list[tuple[float, int]] = []
    begin, is_over = time.monotonic(), threading.Event()

    def look() -> None:
        with httpx.Client(timeout=120) as reader:
            reader.get(base, params={"token": token})
            while not is_over.wait(1):
                start = time.perf_counter()
                assert reader.get(base).status_code == 200
                pages.append(time.perf_counter() - start)
                memory.append((time.monotonic() - begin, seen.memory_info().rss))

    threads = [
        threading.Thread(
            target=paced, args=(seconds, 1.0, lambda one=one: post(client, f"{base}/v1/metrics", one.content(), tally))
        )
        for one in processes
    ]  # fmt: skip
    threads.append(
        threading.Thread(
            target=paced, args=(seconds, SPANS_A_REQUEST / spans_per_s, lambda: post(client, f"{base}/v1/traces", spans.content(), tally))
        )
    )  # fmt: skip
    looking = threading.Thread(target=look)
    looking.start()
    for at, thread in enumerate(threads):
        thread.start()
        time.sleep(1 / len(threads) if at < len(threads) - 1 else 0)
    for thread in threads:
        thread.join()
    took = time.monotonic() - begin
    is_over.set()
    looking.join()
    used = seen.cpu_times()
    server.send_signal(signal.SIGTERM)
    server.wait()

    import sqlite3

    database = folder / ".proftool" / "runs.db"
    with sqlite3.connect(database) as connection:
        (stored,) = connection.execute("SELECT count(*) FROM spans").fetchone()
    store = open_metrics(settings.load(folder, environ={}))
    wanted = {"sum": 0, "histogram": 0}
    for one in processes:
        wanted["sum"] += one.sent * 3 * len(one.counters)
        wanted["histogram"] += one.sent * 2 * len(one.bars)
    found = {"sum": 0.0, "histogram": 0}
    until = time.time_ns()
    start = time.perf_counter()
    for service in store.services():
        step = (round(took) + 120) * NS_PER_S
        for series in store.find_series(PointQuery(service=service, since_ns=until - step, until_ns=until, step_ns=step)):
            if series.kind == "counter":
                found["sum"] += series.values[0] or 0
            elif series.kind == "histogram":
                found["histogram"] += sum(series.counts[0] or ())
    asked_s = time.perf_counter() - start
    points = sum(one.sent * (len(one.counters) + len(one.gauges) + len(one.bars)) for one in processes)
    early = max(rss for at, rss in memory if at < min(30, took / 3))
    highest = [early, max(rss for _, rss in memory), memory[-1][1]]
    pages.sort()
    rows = [
        ("time", f"{took:.0f} s"),
        ("spans sent and acknowledged", f"{spans.sent:,} ({spans.sent / took:,.0f} a second)"),
        ("spans stored", f"{stored:,}"),
        ("points sent and acknowledged", f"{points:,} ({points / took:,.0f} a second)"),
        ("counted by counters: sent, found", f"{wanted['sum']:,}, {found['sum']:,.0f}"),
        ("counted by histograms: sent, found", f"{wanted['histogram']:,}, {found['histogram']:,}"),
        ("requests turned away and sent again", f"{tally['turned away']:,}"),
        ("memory of the server: highest of the first part, highest, last", ", ".join(f"{rss >> 20} MiB" for rss in highest)),
        ("processor time of the server", f"{(used.user + used.system) / took:.0%} of a core"),
        ("its front page meanwhile: median, 95 %", ", ".join(f"{pages[len(pages) * at // 100] * 1e3:.0f} ms" for at in (50, 95))),
        ("load of the machine, of one minute", f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"),
        ("database", f"{database.stat().st_size >> 20} MiB"),
        ("all series of the whole time, asked for", f"{asked_s:.2f} s"),
    ]  # fmt: skip
    print("| | |\n|---|---|")
    print("\n".join(f"| {name} | {value} |" for name, value in rows))
    assert stored == spans.sent
    assert (found["sum"], found["histogram"]) == (wanted["sum"], wanted["histogram"])


if __name__ == "__main__":
    words = [float(word) for word in sys.argv[1:]]
    main(words[0] if words else 600, int(words[1]) if len(words) > 1 else 2000, int(words[2]) if len(words) > 2 else 20_000)
