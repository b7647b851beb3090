"""A running `proftool serve` that telemetry is sent to, and the stores of its project."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from proftool import settings
from proftool.store import open_logs, open_metrics, open_telemetry


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
        self.process.communicate(timeout=60)

    def end(self) -> str:
        """In order; what it had to say."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, told = self.process.communicate(timeout=60)
        return told
