"""Runs a target plain and recorded, side by side, in a place of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

TARGETS = Path(__file__).parent.parent / "targets"
RECORDER = Path(__file__).with_name("recorder.py")
ROOT = Path(__file__).parent.parent.parent


@dataclass
class Ended:
    """How a process ended; `told` is what the recorder wrote."""

    status: int
    out: bytes
    err: str
    told: dict[str, Any] = field(default_factory=dict)

    def names(self) -> set[str]:
        return {name for name, row in self.told.get("totals", {}).items() if any(row.values())}

    def words(self) -> str:
        """Everything that was said of the recording."""
        one = self.told.get("pass", {})
        return "\n".join([*self.told.get("notes", []), *one.get("unseen", []), *one.get("notes", []), self.told.get("failed", "")])


class Trial:
    """A folder with the target programs. `environment` is given to target and recorder alike."""

    def __init__(self, folder: Path) -> None:
        self.work, self.tmp, self.results = folder / "work", folder / "tmp", folder / "results"
        for path in (self.work, self.tmp, self.results):
            path.mkdir(parents=True)
        self.token = f"trial-{folder.name}-{os.getpid()}"
        self.environment: dict[str, str] = {}
        self.python = sys.executable
        for source in ("subject.py", "pack/__init__.py", "pack/__main__.py"):
            place = self.work / source
            place.parent.mkdir(exist_ok=True)
            place.write_bytes((TARGETS / source).read_bytes())
        (self.work / "pack" / "inner.py").write_bytes((TARGETS / "subject.py").read_bytes())

    def env(self) -> dict[str, str]:
        own = {"TMPDIR": str(self.tmp), "TRIAL_TOKEN": self.token, "PYTHONDONTWRITEBYTECODE": "1"}
        inherited = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}
        return {key: value for key, value in (inherited | own | self.environment).items() if value != "<unset>"}

    def start(self, backend: str | None, *words: str, stdin: int = subprocess.DEVNULL, **asked: Any) -> Started:
        """`backend` None runs the target plain."""
        result = Path(tempfile.mkdtemp(dir=self.results)) / "told.json"
        if backend is None:
            plain = [asked.get("python") or self.python, *asked.get("interpreter", ())]
            what = ["-m", asked["module"]] if "module" in asked else ["-c", asked["code"]] if "code" in asked else []
            command = [*plain, *what, *words]
        else:
            interpreter = asked.pop("interpreter", None)
            if interpreter:
                words = (asked.pop("python", None) or self.python, *interpreter, *words)
            elif "python" not in asked:
                asked["python"] = self.python
            command = [sys.executable, "-c", _START, str(result), json.dumps({"backend": backend, "words": words, **asked})]
        return Started(command, self.work, self.env(), stdin, result)

    def run(self, backend: str | None, *words: str, stdin: int = subprocess.DEVNULL, **asked: Any) -> Ended:
        return self.start(backend, *words, stdin=stdin, **asked).ended()

    def alive(self) -> dict[int, str]:
        """Processes that bear this trial's token, zombies aside."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                state = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
                if state != "Z" and self.token.encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = state + " " + (entry / "cmdline").read_bytes()[:120].decode(errors="replace")
        return found

    def is_empty(self, within_s: float = 120.0) -> bool:
        end = time.monotonic() + within_s
        while self.alive():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def end_all(self) -> None:
        for pid in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


# The recorder's own environment must reach the target unchanged, so proftool is put on its path by hand.
_START = f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); runpy.run_path({str(RECORDER)!r}, run_name='__main__')"


class Started:
    def __init__(self, command: list[str], cwd: Path, env: dict[str, str], stdin: int, result: Path) -> None:
        self.result = result
        self.streams = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (closed by `ended`)
        self.process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=stdin, stdout=self.streams[0], stderr=self.streams[1], start_new_session=True
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def working(self, ready: Path) -> bool:
        """Wait until the target has said that it works, and has worked for a while: that takes longer where it has to stand in line."""
        end, least_s = time.monotonic() + 120, None
        while time.monotonic() < end and self.process.poll() is None:
            if ready.exists() and ready.read_text() == "working":
                worked_s = self._worked_s()
                least_s = worked_s + 0.4 if least_s is None else least_s
                if worked_s >= least_s:
                    return True
            time.sleep(0.02)
        return False

    def _worked_s(self) -> float:
        """Processor time of all that runs in the session, which is the target's while it works."""
        found = 0.0
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if os.getsid(one.pid) == self.pid:
                    found += sum(one.cpu_times()[:2])
        return found

    def ended(self, limit_s: float = 180) -> Ended:
        try:
            status = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()
            status = 124
        out, err = (os.pread(stream.fileno(), 1 << 24, 0) for stream in self.streams)
        for stream in self.streams:
            stream.close()
        told = json.loads(self.result.read_text()) if self.result.exists() else {}
        return Ended(128 - status if status < 0 else status, out, err.decode(errors="replace"), told)
