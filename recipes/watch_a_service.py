"""
Question: a FastAPI service gets slow now and then. Who tells me, and which line is it?

Run: `python recipes/watch_a_service.py`. It starts a FastAPI service on loopback with an alert rule in `pyproject.toml`, asks it for pages,
makes one of its routes slow, waits for the alert, mends the route, and waits for its end.

Read the answer: two lines make a service watched, `proftool.watch("shop")` and `app.add_middleware(ASGIMiddleware)`. The rule says what
is too slow. When it is broken, the log (and a webhook, `PROFTOOL_WEBHOOK`) gets one message with the line of code, and an incident
keeps the profile of the bad minutes beside that of the good ones, the slow requests, and the numbers around the moment: `proftool
incidents` lists them, `proftool open incident-…` shows one as an offline page. Windows are of seconds here, else of minutes.

Clean up: the service is ended by the recipe; remove `shop.py`, `incident.html`, the table in `pyproject.toml`, and the store `.proftool`.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

RULES = """
[tool.proftool.alerts.slow-pages]
measure = "p50"
above = 0.2
window = 6
for = 2
"""
SHOP = """
import logging, sys, time
from pathlib import Path
import uvicorn
from fastapi import FastAPI
import proftool
from proftool.telemetry import ASGIMiddleware
from proftool.telemetry.incidents import Watched
from proftool.telemetry.tracing_start import Options

logging.basicConfig(format="%(levelname)s %(message)s")
app = FastAPI()
app.add_middleware(ASGIMiddleware)

@app.get("/items/{number}")
def item(number: int):
    return {"price": price(number)}

def price(number):
    return number * exchange_rate()

def exchange_rate():
    if Path("slow").exists():
        time.sleep(0.3)  # a remote service that has a bad day
    return 1.1

# In production: proftool.watch("shop"). Here minutes are seconds.
proftool.watch("shop", options=Options(slice_s=2, alerts=Watched(look_s=0.5, resolve_s=3, save_s=1)))
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""


def proftool(*words: str) -> str:
    """Run proftool; what it wrote on stdout. Its talk goes to the terminal."""
    return subprocess.run([sys.executable, "-m", "proftool", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def ask(port: int, seconds: float) -> None:
    """Four clients, each asking for one page after the other, so long."""
    end = time.monotonic() + seconds

    def client() -> None:
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/items/3", timeout=30).read()
            except urllib.error.URLError:
                time.sleep(0.1)  # it is starting
            time.sleep(0.02)

    clients = [threading.Thread(target=client) for _ in range(4)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()


def ask_until(port: int, state: str) -> dict[str, object]:
    """Go on until there is an incident in that state."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        ask(port, 1)
        found = json.loads(proftool("incidents", "--json"))["incidents"]
        if found and found[0]["state"] == state:
            return found[0]
    raise TimeoutError(f"no incident was {state}")


def main() -> None:
    Path("shop.py").write_text(SHOP)
    with Path("pyproject.toml").open("a") as project:
        project.write(RULES)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with subprocess.Popen([sys.executable, "shop.py", str(port)]) as shop:
        try:
            ask(port, 12)
            assert shop.poll() is None, "the service runs"
            assert not json.loads(proftool("incidents", "--json"))["incidents"], "a healthy service is quiet"
            Path("slow").touch()
            ask_until(port, "firing")
            Path("slow").unlink()
            told = ask_until(port, "resolved")
        finally:
            shop.terminate()

    name = str(told["id"])
    proftool("open", name, "--no-browser", "-o", "incident.html")
    print(proftool("incidents", name))
    suspects = json.loads(proftool("incidents", name, "--json"))["incident"]["suspects"]
    line = SHOP.splitlines().index("        time.sleep(0.3)  # a remote service that has a bad day") + 1
    assert (suspects[0]["function"], suspects[0]["line"]) == ("exchange_rate", line), suspects
    assert Path("incident.html").stat().st_size > 100_000
    print(f"Told in time, and over: {suspects[0]['function']}, line {line} of shop.py, made the pages slow.")


if __name__ == "__main__":
    main()
