"""
Question: a server runs and uses a whole core. What does it do, without a restart?

Run: `python recipes/profile_a_running_server.py`. It starts a small HTTP server on loopback, asks it for pages, and attaches to it.

Read the answer: `proftool attach PID --duration 3s` samples the process from outside and leaves it as it was. The table names `render`,
which counts the letters of the whole page again for each of them. `proftool dump PID` shows what every thread does at one moment.
On Linux attaching to a process that you did not start needs root, or `kernel.yama.ptrace_scope` 0; `proftool attach --check PID` says so.

Clean up: the server is ended by the recipe; `proftool rm server` removes the run, and remove `server.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

SERVER = """
from http.server import BaseHTTPRequestHandler, HTTPServer

def render(words):
    return {word: sum(letter == word for letter in words) for word in words}

class Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        page = repr(render("the quick brown fox jumps over the lazy dog " * 12)).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Pages)
print(server.server_port, flush=True)
server.serve_forever()
"""


def proftool(*words: str) -> str:
    """Run proftool; what it wrote on stdout. Its talk goes to the terminal."""
    return subprocess.run([sys.executable, "-m", "proftool", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def ask(address: str, enough: threading.Event) -> None:
    """One client after the other, until it is enough."""
    while not enough.is_set():
        urllib.request.urlopen(address, timeout=30).read()


def main() -> None:
    Path("server.py").write_text(SERVER)
    enough = threading.Event()
    with subprocess.Popen([sys.executable, "server.py"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = f"http://127.0.0.1:{int(server.stdout.readline())}/"
        client = threading.Thread(target=ask, args=(address, enough))
        client.start()
        try:
            print(proftool("dump", str(server.pid)))
            proftool("attach", str(server.pid), "--duration", "3s", "--label", "server")
            assert server.poll() is None, "the server lives on"
        finally:
            enough.set()
            client.join()
            server.terminate()

    print(proftool("show", "server", "--limit", "5"))
    functions = json.loads(proftool("show", "server", "--json"))["functions"]
    busiest = max(functions, key=lambda function: function["self"].get("wall_time", 0) - function["waiting"].get("wall_time", 0))
    assert busiest["name"].startswith(("render", "<genexpr>")), busiest["name"]
    print(f"The server is busy in {busiest['name']}, and lived on.")


if __name__ == "__main__":
    main()
