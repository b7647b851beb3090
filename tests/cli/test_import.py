"""`proftool import` of files that the real tools wrote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.command import Project

APP = """
def leaf(n):
    return sum(i * i for i in range(n))
def trunk():
    kept = bytearray(3_000_000)
    for _ in range(40):
        leaf(20_000)
    return kept
trunk()
"""


def run(project: Project, *words: str) -> None:
    """A tool of others, in the project's folder."""
    subprocess.run(words, cwd=project.root, check=True, capture_output=True, timeout=60)


TOOLS: dict[str, tuple[str, str, Callable[[Project, str], None]]] = {
    "cprofile": ("x.prof", "wall_time", lambda p, f: run(p, sys.executable, "-m", "cProfile", "-o", f, "app.py")),
    "pyinstrument": (
        "x.pyisession",
        "wall_time",
        lambda p, f: run(p, sys.executable, "-m", "pyinstrument", "-r", "session", "-o", f, "app.py"),
    ),
    "py-spy-raw": ("x.raw", "samples", lambda p, f: run(p, *PY_SPY, "raw", "-o", f, "--", sys.executable, "app.py")),
    "py-spy-speedscope": ("x.json", "wall_time", lambda p, f: run(p, *PY_SPY, "speedscope", "-o", f, "--", sys.executable, "app.py")),
    "memray": ("x.bin", "peak_bytes", lambda p, f: run(p, sys.executable, "-m", "memray", "run", "-q", "-o", f, "app.py")),
}
PY_SPY = (str(Path(sys.executable).parent / "py-spy"), "record", "--nonblocking", "-r", "200", "-f")


@pytest.mark.parametrize("tool", TOOLS)
def test_a_file_of_the_real_tool_is_a_run(project: Project, tool: str) -> None:
    """Recognised by content under a name that says nothing; the run has the program's functions and the tool's metric."""
    file, metric, record = TOOLS[tool]
    project.write("app.py", APP)
    record(project, file)
    (project.root / file).rename(project.root / "found")
    done = project.proftool("import", "found", "--label", tool)
    assert done.status == 0, done.err
    shown = project.proftool("show", tool, "--json").json
    assert shown["run"]["id"] == done.out.strip()
    assert metric in {m["name"] for m in shown["metrics"]}
    totals = {f["name"]: f["total"].get(metric, 0) for f in shown["functions"] if "trunk" in f["name"]}
    assert max(totals.values()) > 0, shown["functions"][:5]


def test_a_folder_is_all_its_profiles_and_a_damaged_one_stops_none(project: Project) -> None:
    """Two good files and a cut one: one run of both with a lane each, an error by name, its status."""
    project.write("app.py", APP)
    (project.root / "in").mkdir()
    for name in ("a.prof", "b.prof"):
        run(project, sys.executable, "-m", "cProfile", "-o", f"in/{name}", "app.py")
    content = (project.root / "in" / "a.prof").read_bytes()
    (project.root / "in" / "c.prof").write_bytes(content[: len(content) // 2])
    (project.root / "in" / "notes.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    done = project.proftool("import", "in")
    assert done.status == 6, done.err
    (run_id,) = done.out.split()
    assert "c.prof" in done.err
    shown = project.proftool("show", run_id, "--json").json
    assert [lane["process_name"] for lane in shown["lanes"]] == ["a.prof", "b.prof"]
    alone = [project.proftool("show", f"in/{name}", "--json").json for name in ("a.prof", "b.prof")]
    totals = [{m["name"]: m["total"] for m in one["metrics"]} for one in (shown, *alone)]
    assert totals[0] == {name: totals[1][name] + totals[2][name] for name in totals[0]}
    # What was imported apart can be merged afterwards, by label too.
    for name in ("a.prof", "b.prof"):
        assert project.proftool("import", f"in/{name}", "--label", "part").status == 0
    merged = project.proftool("merge", "part", "--label", "whole")
    assert merged.status == 0, merged.err
    again = project.proftool("show", "whole", "--json").json
    assert again["metrics"] == shown["metrics"]
    assert project.proftool("merge", "whole").status == 2
    assert "Traceback" not in done.err
