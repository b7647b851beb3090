"""Real servers with several workers, killed ones included; a real Prometheus scrapes them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import httpx
import pytest
from ports import free_port
from prometheus_client.openmetrics.parser import text_string_to_metric_families

TESTS = Path(__file__).parent.parent
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


PATIENT = ("--timeout-worker-healthcheck", "600")


@contextmanager
def serving(app: str, *words: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server with that application; its URL and its process."""
    port = free_port()
    env = os.environ | {"APP": app, "PYTHONPATH": str(TESTS), "OTEL_SERVICE_NAME": f"test-{port}"}
    command = [sys.executable, "-m", *(word.replace("PORT", str(port)) for word in words)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 120
        while True:
            try:
                httpx.get(f"{url}/metrics", timeout=120)
                break
            except httpx.TransportError:
                assert process.poll() is None, process.stderr and process.stderr.read().decode()
                assert time.monotonic() < end, "the server did not answer"
                time.sleep(0.1)
        yield url, process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


# A worker that a busy machine keeps from answering its master is not dead: it is not to be replaced.
GUNICORN = ("gunicorn", "telemetry.apps:app", "-w", "2", "-b", "127.0.0.1:PORT", "--log-level", "error", "--timeout", "600")
UVICORN = ("uvicorn", "telemetry.apps:app", "--workers", "2", "--port", "PORT", "--log-level", "error", *PATIENT)


def served(url: str) -> float:
    """Requests for items that are counted, over all workers; the answer is valid OpenMetrics."""
    found = 0.0
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=120).text):
        for sample in family.samples:
            if sample.name == "http_server_request_duration_seconds_count" and "items" in sample.labels.get("http_route", ""):
                found += sample.value
    return found


def ask(url: str, count: int) -> int:
    """So many requests, eight at a time, each on a connection of its own; how many were answered."""
    address = url.removeprefix("http://")

    def one(number: int) -> int:
        connection = HTTPConnection(address, timeout=120)
        try:
            connection.request("GET", f"/items/{number}", headers={"connection": "close"})
            answer = connection.getresponse()
            return int(answer.status == 200 and bool(answer.read()))
        except (OSError, HTTPException):
            return 0
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(one, range(count)))


@pytest.mark.parametrize(
    ("app", "words"),
    [("flask", GUNICORN), ("django", (*GUNICORN, "--preload")), ("plain", (*GUNICORN, "--threads", "4")),
     ("fastapi", UVICORN), ("starlette", UVICORN)],
    ids=["flask", "django-preload", "plain-threads", "fastapi", "starlette"],
)  # fmt: skip
def test_every_worker_is_counted_wherever_the_scrape_lands(app: str, words: tuple[str, ...]) -> None:
    """150 requests over two workers are 150, whichever answers."""
    with serving(app, *words) as (url, _):
        assert ask(url, 150) == 150
        assert {served(url) for _ in range(6)} == {150}


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("count", [600, pytest.param(100_000, marks=pytest.mark.full)])
@pytest.mark.timeout(1200)
def test_killed_workers_take_nothing_along(count: int) -> None:
    """Workers die by SIGKILL under load: the sum never falls, every answer is in it, and no request twice."""
    with serving("plain", *GUNICORN) as (url, process):
        answered, seen = 0, [0.0]
        for number in range(1, 7):
            with ThreadPoolExecutor(1) as pool:
                asked = pool.submit(ask, url, count // 6)
                time.sleep(0.2)
                os.kill(children(process.pid)[0], signal.SIGKILL)
                answered += asked.result()
            end = time.monotonic() + 120
            while len(seen) < number + 1 and time.monotonic() < end:
                try:
                    seen.append(served(url))
                except httpx.TransportError:
                    time.sleep(0.1)
        assert seen == sorted(seen)
        assert answered <= seen[-1] <= count // 6 * 6


def test_a_group_leaves_nothing_behind() -> None:
    """The folder of a server that ended goes with the next that starts."""
    shared = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path("/tmp")
    with serving("plain", *GUNICORN) as (_, process):
        (folder,) = (shared / f"proftool-{os.getuid()}").glob(f"*-{process.pid}-*")
        assert list(folder.glob("*.cells"))
    with serving("plain", *GUNICORN):
        assert not folder.exists()


@pytest.mark.timeout(600)
def test_prometheus_scrapes_names_units_and_exemplars(tmp_path: Path) -> None:
    """A real Prometheus knows the metric, its type, its rate and the exemplar's trace."""
    program = shutil.which("prometheus")
    assert program, "install Debian's `prometheus`"
    with serving("starlette", *UVICORN) as (url, _):
        for number in range(20):
            httpx.get(f"{url}/items/{number}", headers={"traceparent": PARENT}, timeout=120)
        port = free_port()
        config = tmp_path / "prometheus.yml"
        target = url.removeprefix("http://")
        config.write_text(f"scrape_configs: [{{job_name: t, scrape_interval: 1s, static_configs: [{{targets: ['{target}']}}]}}]")
        words = [f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
        process = subprocess.Popen(
            [program, *words, "--enable-feature=exemplar-storage"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            metric = "http_server_request_duration_seconds"
            count = _asked(port, "query", query=f'{metric}_count{{http_route="/items/{{id}}"}}')
            assert count[0]["value"][1] == "20"
            meta = _asked(port, "metadata", metric=metric)
            assert meta[metric][0]["type"] == "histogram"
            assert meta[metric][0]["unit"] == "seconds"
            (found,) = _asked(port, "query_exemplars", query=f"{metric}_bucket", start=str(time.time() - 600), end=str(time.time() + 60))[
                :1
            ]
            assert found["exemplars"][0]["labels"]["trace_id"] == PARENT[3:35]
        finally:
            process.terminate()
            process.wait(120)


def _asked(port: int, question: str, **words: str) -> object:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            data = json.loads(httpx.get(f"http://127.0.0.1:{port}/api/v1/{question}", params=words, timeout=120).text).get("data")
            found = data.get("result") if question == "query" else data
            if found:
                return found
        except (httpx.TransportError, AttributeError, ValueError):  # it says in plain words that it is not ready
            pass
        time.sleep(0.25)
    raise AssertionError(f"Prometheus never knew {question} {words}")


NAMES = (
    "process_cpu_time_seconds_total",
    "process_memory_usage_bytes",
    "process_thread_count",
    "process_unix_file_descriptor_count",
    "cpython_gc_collections_total",
    "asyncio_eventloop_delay_seconds_bucket",
)


@pytest.mark.timeout(600)
def test_process_metrics_are_named_by_the_conventions() -> None:
    """What the system knows of each worker, and how late the event loop is."""
    with serving("starlette", *UVICORN) as (url, process):
        end = time.monotonic() + 120
        while True:  # the server answers as soon as one of its workers does
            text = httpx.get(f"{url}/metrics", timeout=120).text
            missing = [name for name in NAMES if not re.search(rf"^{name}[{{ ]", text, re.M)]
            pids = re.findall(r'^process_memory_usage_bytes\{process_pid="(\d+)"', text, re.M)
            if (not missing and len(pids) >= 2) or time.monotonic() > end:
                break
            time.sleep(0.1)
        workers = children(process.pid)
    assert not missing
    assert len(pids) == len(set(pids)) == 2
    assert {int(pid) for pid in pids} <= set(workers)
