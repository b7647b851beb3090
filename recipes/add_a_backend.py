"""
Question: I have a profiler that proftool does not know. How do its recordings become runs like all others?

Run: `python recipes/add_a_backend.py`. It puts the package of recipes/plugins/frames beside proftool, as `pip install
recipes/plugins/frames` does for good, and records a small program with it.

Read the answer: `proftool doctor` lists `frames`, and the run has everything that a run has: table, flame graph, diff, gate. The package is
two files. `proftool_frames/__init__.py` is the backend: what it can do, how to record, how to read what was recorded as a profile.
`proftool_frames/inside.py` is the profiler itself, loaded in the target. One entry point of the group `proftool.backends` joins them to
proftool. The same works for `proftool.formats`, `proftool.reports` and `proftool.rules`. Hold yours to the suite that holds ours: from a
checkout, `python -m pytest tests/contracts/test_backend_contract.py -k frames`.

Clean up: `proftool rm plugin`, and remove the folder `plugins` and `program.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

PLUGIN = Path(__file__).parent / "plugins" / "frames"
PROGRAM = """
import threading

def slow(n):
    return sum(i * i for i in range(n))

def work():
    for _ in range(40):
        slow(50_000)

thread = threading.Thread(target=work, name="helper")
thread.start()
work()
thread.join()
"""


def install(site: Path) -> None:
    """What pip would put into that folder: the package and its metadata."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    shutil.copytree(PLUGIN / "proftool_frames", site / "proftool_frames", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    told = site / f"proftool_frames-{project['version']}.dist-info"
    told.mkdir(exist_ok=True)
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in points.items())
        for group, points in project["entry-points"].items()
    ]
    (told / "entry_points.txt").write_text("\n".join(lines))


def proftool(*words: str) -> str:
    """Run proftool with the plugin beside it; what it wrote on stdout. Its talk goes to the terminal."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(Path("plugins").resolve()), os.environ.get("PYTHONPATH", "")]))}
    return subprocess.run([sys.executable, "-m", "proftool", *words], check=True, stdout=subprocess.PIPE, text=True, env=env).stdout


def main() -> None:
    Path("plugins").mkdir(exist_ok=True)
    install(Path("plugins"))
    Path("program.py").write_text(PROGRAM)
    doctor = proftool("doctor")
    print(doctor)
    assert "frames" in doctor

    proftool("run", "--backend", "frames", "--rate", "200", "--label", "plugin", "program.py")
    print(proftool("show", "plugin", "--limit", "4"))
    shown = json.loads(proftool("show", "plugin", "--json"))
    assert shown["run"]["backends"] == ["frames"]
    slowest = max(shown["functions"], key=lambda function: function["self"].get("wall_time", 0))
    assert slowest["name"].startswith("slow"), slowest["name"]
    assert {lane["thread_name"] for lane in shown["lanes"]} >= {"MainThread", "helper"}, shown["lanes"]
    n_lines = sum(len(file.read_text().splitlines()) for file in PLUGIN.rglob("*.py"))
    print(f"A backend of {n_lines} lines found {slowest['name']}, in two threads.")


if __name__ == "__main__":
    main()
