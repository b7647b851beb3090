"""Makes the files of tests/golden/files by running the tools that write them on a small program; run it to add a tool or a release.

    python tests/golden/make.py

Needs py-spy with the right to trace its own child, pyinstrument, austin 3.7, viztracer and perf. The paths of this machine are cut
out of what they write. `austin.mojo.txt` is made by hand of `austin.mojo`, by `mojo2austin` of austin-python 2.4.0 in an environment
of its own: it wants a protobuf that OpenTelemetry's packages do not.
"""

from __future__ import annotations

import cProfile
import json
import marshal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pyinstrument

FILES = Path(__file__).parent / "files"
PROGRAM = """\
import threading
import time


class Shop:
    def total(self, n):
        return sum(i * i for i in range(n))

    def wait(self):
        time.sleep(0.05)


class Stall:
    def total(self, n):
        return fib(n)


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def main():
    thread = threading.Thread(target=Shop().wait, name="waiter")
    thread.start()
    for _ in range(8):
        Shop().total(60_000)
        Stall().total(20)
    Shop().wait()
    thread.join()


main()
"""


def main() -> None:
    """Record the program with every tool."""
    FILES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "shop.py"
        program.write_text(PROGRAM)
        python = sys.executable
        run = [python, str(program)]
        out = Path(folder) / "out"
        kept: dict[str, bytes] = {}
        subprocess.run([python, "-m", "cProfile", "-o", str(out), str(program)], check=True)
        kept["cprofile.prof"] = out.read_bytes()
        subprocess.run([python, "-m", "pyinstrument", "-i", "0.004", "-r", "session", "-o", str(out), str(program)], check=True)
        session = json.loads(out.read_bytes()) | {"sys_path": [], "sys_prefixes": []}
        kept["pyinstrument.pyisession"] = json.dumps(session).encode()
        for format, name in (("raw", "py-spy.collapsed"), ("speedscope", "py-spy.speedscope.json")):
            subprocess.run(["py-spy", "record", "--idle", "-r", "200", "-f", format, "-o", str(out), "--", *run], check=True)
            kept[name] = out.read_bytes()
        beside = Path(python).parent
        for options, name in (((), "austin.txt"), (("-f",), "austin-full.txt"), (("-b",), "austin.mojo")):
            subprocess.run([str(beside / "austin"), "-i", "4ms", *options, "-o", str(out), *run], check=True, capture_output=True)
            kept[name] = out.read_bytes()
        trace = Path(folder) / "trace.json"
        short = ["--quiet", "--max_stack_depth", "3", "--ignore_c_function", "-o", str(trace)]
        subprocess.run([str(beside / "viztracer"), *short, str(program)], check=True)
        kept["viztracer.json"] = trace.read_bytes()
        subprocess.run(["perf", "record", "-g", "-F", "200", "-o", str(out), *run], check=True, capture_output=True)
        kept["perf.txt"] = subprocess.run(["perf", "script", "-i", str(out)], check=True, capture_output=True).stdout
        homes = [
            (str(Path(pyinstrument.__file__).parent.parent), "/venv/lib/python3.11/site-packages"),
            (str(program.parent), "/shop"),
            (sysconfig.get_path("stdlib"), "/usr/lib/python3.11"),
            (sys.prefix, "/venv"),
            (sys.base_prefix, "/usr"),
        ]
        for name, data in kept.items():
            if not name.endswith(".prof"):
                for path, shown in homes:
                    data = data.replace(path.encode(), shown.encode())
            (FILES / name).write_bytes(data)
        # Statistics are binary: they are recorded again under names that tell nothing, as code compiled for another place.
        profiler = cProfile.Profile()
        profiler.run(compile(PROGRAM, "/shop/shop.py", "exec"))  # type: ignore[arg-type]
        profiler.create_stats()

        def plain(key: tuple[str, int, str]) -> tuple[str, int, str]:
            file = key[0]
            for path, shown in homes:
                file = file.replace(path, shown)
            return (file, *key[1:])

        stats = {plain(k): (*v[:4], {plain(c): n for c, n in v[4].items()}) for k, v in profiler.stats.items()}  # type: ignore[attr-defined]
        (FILES / "cprofile.prof").write_bytes(marshal.dumps(stats))
    (FILES / "evented.speedscope.json").write_text(EVENTED)


EVENTED = """\
{"$schema": "https://www.speedscope.app/file-format-schema.json", "shared": {"frames": [{"name": "main", "file": "app.py", "line": 1},
{"name": "A.run", "file": "app.py", "line": 5}, {"name": "idle"}]}, "profiles": [
{"type": "evented", "name": "one", "unit": "milliseconds", "startValue": 10, "endValue": 40, "events": [
{"type": "O", "frame": 0, "at": 10}, {"type": "O", "frame": 1, "at": 12}, {"type": "C", "frame": 1, "at": 20},
{"type": "C", "frame": 0, "at": 21},
{"type": "O", "frame": 2, "at": 30}, {"type": "C", "frame": 2, "at": 40}]},
{"type": "sampled", "name": "two", "unit": "milliseconds", "startValue": 0, "endValue": 9,
"samples": [[0], [0, 1], [], [2]], "weights": [1, 2, 3, 3]}],
"exporter": "hand"}
"""

if __name__ == "__main__":
    main()
