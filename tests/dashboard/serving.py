"""A running `proftool serve`, and a real service under load behind it: uvicorn, requests, points, spans and slices in one store."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from ports import free_port

RULES = """
[tool.proftool.alerts.too-slow]
measure = "p95"
above = 0.1
for = 0

[tool.proftool.alerts.failing]
measure = "errors"
above = 0.9

[tool.proftool.slo.shop]
objective = 0.99
latency = 0.25
"""
WAIT_S = 300


def environment(**more: str) -> dict[str, str]:
    """That of the tests without settings of proftool."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PROFTOOL_")} | more


class Served:
    """A running `proftool serve`."""

    def __init__(self, folder: Path, *words: str) -> None:
        command = [sys.executable, "-m", "proftool", "serve", "--no-browser", *words]
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.base, _, self.token = self.url.partition("/?token=")
        self.cookies = {f"proftool-{self.base.rpartition(':')[2]}": self.token}

    def cookie(self) -> Any:
        """For a browser's context."""
        ((name, value),) = self.cookies.items()
        return {"name": name, "value": value, "url": self.base}

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=self.base, timeout=60) as client:
            assert client.get("/", params={"token": self.token}).status_code == 303
            yield client

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, told = self.process.communicate(timeout=120)
        return self.process.returncode, told


def until(check: Callable[[], object], what: str) -> None:
    """Wait for it; fails after five minutes."""
    end = time.monotonic() + WAIT_S
    while not check():
        assert time.monotonic() < end, f"waited {WAIT_S} s for {what}"
        time.sleep(0.5)


@dataclass
class Shop:
    """The watched service, its dashboard, and requests without end until the module is over."""

    folder: Path
    served: Served
    base: str
    stop: threading.Event = field(default_factory=threading.Event)

    def api(self, path: str, **ask: object) -> dict[str, object]:
        with self.served.client() as client:
            return client.get(f"/api{path}", params={name: str(value) for name, value in ask.items()}).raise_for_status().json()

    def load(self) -> None:
        """Requests without end; one that a connection's end cut short is followed by the next."""
        with httpx.Client(base_url=self.base, timeout=60) as client:
            n = 0
            while not self.stop.is_set():
                n += 1
                path = "/checkout" if n % 10 == 0 else f"/cart/{12 + n % 9}" if n % 2 else "/search"
                with contextlib.suppress(httpx.TransportError):
                    client.get(path, params={"q": "fail"} if n % 8 == 4 else {})
                self.stop.wait(0.03)


@contextmanager
def shop_in(folder: Path) -> Iterator[Shop]:
    """The shop in an empty folder, once its points, spans, slices and findings are there."""
    (folder / "pyproject.toml").write_text(RULES)
    (folder / "shop.py").write_text((Path(__file__).parent / "shop.py").read_text())
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "shop:app", "--port", str(port), "--log-level", "critical"]
    service = subprocess.Popen(command, cwd=folder, env=environment())
    served = Served(folder)
    made = Shop(folder, served, f"http://127.0.0.1:{port}")
    loading = threading.Thread(target=made.load, daemon=True)
    try:
        until(lambda: _answers(made.base), "the service")
        loading.start()
        until(lambda: _is_full(made), "points, traces, findings and slices of the service")
        yield made
    finally:
        made.stop.set()
        if loading.is_alive():
            loading.join(WAIT_S)
        service.terminate()
        service.wait(120)
        served.end()


def _answers(base: str) -> bool:
    try:
        return httpx.get(f"{base}/cart/1", timeout=60).status_code == 200
    except httpx.TransportError:
        return False


def _is_full(shop: Shop) -> bool:
    found = json.dumps(shop.api("/service", name="shop", range="15m")) if shop.api("/services")["services"] else ""
    names = ("GET /checkout", "GET /cart/{n}", "repeated-query", "blocking-call", "Resident memory", "Event loop late")
    with shop.served.client() as client:
        return all(name in found for name in names) and client.get("/service/flame?name=shop&range=15m").status_code == 200
