"""The verbs over stored runs from the outside: list, label, rm, prune, show, export, open, doctor."""

from __future__ import annotations

import json
import os
import pstats
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from cli.command import Project

APP = """
import threading
def leaf(n):
    return sum(i * i for i in range(n))
def trunk():
    def branch():
        for _ in range(20): leaf(20_000)
    branch()
thread = threading.Thread(target=trunk, name="helper")
thread.start()
trunk()
thread.join()
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with one run of call stacks (`stacks`) and one of calls (`calls`), which no test changes."""
    project = Project(tmp_path_factory.mktemp("kept"))
    project.write("app.py", APP)
    for backend, label in (("pyinstrument", "stacks"), ("cprofile", "calls")):
        assert project.proftool("run", "--backend", backend, "app.py").status == 0
        assert project.proftool("label", "@latest", label).status == 0
    return project


def test_a_first_run_is_offered_no_diff_and_a_second_one_is(project: Project) -> None:
    """What is suggested can be typed: nothing to compare with, then the run before by its id; other modes are not offered."""
    app = project.write("app.py", APP)
    first = project.proftool("run", "--backend", "cprofile", app)
    assert "proftool diff" not in first.err
    other = project.proftool("run", "--backend", "pyinstrument", app)
    assert "proftool diff" not in other.err
    third = project.proftool("run", "--backend", "cprofile", app)
    offered = re.search(r"`proftool (diff \w+ \w+)`", third.err)
    assert offered, third.err
    assert project.proftool(*offered[1].split()).status == 0


def test_list_is_plain_without_colour_and_silent_when_quiet(kept: Project, project: Project) -> None:
    """No escape sequence under NO_COLOR; an empty store says so on stderr, and nothing at all with --quiet."""
    done = kept.proftool("list")
    assert "\x1b" not in done.out
    assert ("stacks" in done.out, "calls" in done.out) == (True, True)
    assert [run["label"] for run in kept.proftool("list", "--json", "--label", "calls").json["runs"]] == ["calls"]
    empty = project.proftool("list")
    assert (empty.status, empty.out) == (0, "")
    assert "no run in" in empty.err
    assert project.proftool("list", "--quiet").err == ""


def test_label_rm_and_prune_change_what_is_listed(project: Project) -> None:
    """A labelled run survives prune; --dry-run removes nothing; rm removes it; rm of what is gone is status 7."""
    for n in range(3):
        assert project.proftool("run", "--backend", "cprofile", "-c", f"print({n})").status == 0
    oldest = project.proftool("list", "--json").json["runs"][-1]["id"]
    assert f"run {oldest} is now `keep me`" in project.proftool("label", oldest, "keep me").err
    assert "2 runs would go" in project.proftool("prune", "--keep", "0", "--dry-run").err
    assert len(project.proftool("list", "--json").json["runs"]) == 3
    assert "2 runs went" in project.proftool("prune", "--keep", "0").err
    assert [run["id"] for run in project.proftool("list", "--json").json["runs"]] == [oldest]
    assert project.proftool("label", "keep me", "--remove").status == 0
    assert project.proftool("rm", oldest[:6], "--quiet").err == ""
    assert project.proftool("rm", oldest).status == 7
    assert project.proftool("list", "--json").json["runs"] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--by", "function"], ["leaf", "app.py"]),
        (["--by", "line"], ["app.py:4"]),
        (["--by", "module"], ["app"]),
        (["--by", "thread"], ["MainThread"]),
        (["--by", "callers", "--function", "leaf"], ["callers of leaf", "trunk.<locals>.branch"]),
        (["--by", "callees", "--function", "trunk"], ["callees of trunk", "trunk.<locals>.branch"]),
        (["--function", "leaf"], ["leaf"]),
    ],
)
def test_show_answers_by_every_key(kept: Project, words: list[str], told: list[str]) -> None:
    """Functions, lines, modules, threads, callers and callees of a run of call stacks."""
    done = kept.proftool("show", "stacks", *words)
    assert done.status == 0, done.err
    assert [text for text in told if text not in done.out] == []


@pytest.mark.parametrize(("format", "file"), [("collapsed", "x.txt"), ("speedscope", "x.speedscope.json"), ("native", "x.proftool")])
def test_what_is_exported_is_imported_with_the_same_total(kept: Project, tmp_path: Path, format: str, file: str) -> None:
    """Out through a file, in into another project: the same functions own the same time."""
    out = tmp_path / file
    assert kept.proftool("export", "stacks", "-f", format, "-o", out).status == 0
    (tmp_path / "other").mkdir()
    other = Project(tmp_path / "other")
    done = other.proftool("import", out, "--label", "again")
    assert done.status == 0, done.err
    assert done.out.strip() == other.proftool("list", "--json").json["runs"][0]["id"]
    before, after = kept.proftool("show", "stacks", "--json").json, other.proftool("show", "again", "--json").json
    # Collapsed stacks hold whole samples, the others time.
    metric = "samples" if format == "collapsed" else "wall_time"
    leaves = [sum(f["self"].get(metric, 0) for f in shown["functions"] if "leaf" in f["name"]) for shown in (before, after)]
    assert leaves[0] > 0
    assert leaves[1] == pytest.approx(leaves[0], rel=0.01)


def test_exported_pstats_and_pyinstrument_are_read_by_their_own_tools(kept: Project, tmp_path: Path) -> None:
    """`pstats` sorts the one, `pyinstrument --load` prints the other."""
    assert kept.proftool("export", "calls", "-f", "pstats", "-o", tmp_path / "x.prof").status == 0
    assert any(name == "leaf" for _, _, name in pstats.Stats(str(tmp_path / "x.prof")).stats)  # type: ignore[attr-defined]
    assert kept.proftool("export", "stacks", "-f", "pyinstrument", "-o", tmp_path / "x.pyisession").status == 0
    printed = subprocess.run(
        [sys.executable, "-m", "pyinstrument", "--load", str(tmp_path / "x.pyisession"), "-r", "text", "--show-all"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "leaf" in printed.stdout


def test_export_to_a_pipe_is_the_content_alone(kept: Project) -> None:
    """Collapsed stacks on stdout, what is lost on stderr."""
    done = kept.proftool("export", "stacks", "-f", "collapsed")
    assert done.status == 0
    assert all(re.search(r" \d+$", line) for line in done.out.splitlines())
    assert "leaf" in done.out


def test_open_writes_the_page_and_the_file_of_another_viewer(kept: Project, tmp_path: Path) -> None:
    """--no-browser -o writes an offline page; --viewer speedscope its JSON."""
    page = tmp_path / "x.html"
    done = kept.proftool("open", "stacks", "--no-browser", "-o", page)
    assert (done.status, done.err) == (0, f"written to {page}\n")
    assert page.read_text().startswith("<!doctype html>")
    scope = tmp_path / "x.speedscope.json"
    assert kept.proftool("open", "stacks", "--viewer", "speedscope", "-o", scope).status == 0
    assert any(frame["name"].endswith("leaf") for frame in json.loads(scope.read_text())["shared"]["frames"])


def test_without_a_browser_the_page_is_named_and_is_there(kept: Project) -> None:
    """No display, no BROWSER: the message says where the report is."""
    env = {name: value for name, value in os.environ.items() if name not in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-m", "proftool", "open", "calls"], cwd=kept.root, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert Path(done.stderr.strip().rpartition("the report is ")[2]).stat().st_size > 10_000


def test_snakeviz_serves_the_run_on_loopback_until_interrupted(kept: Project) -> None:
    """The page of the run answers, names the function, and Ctrl-C is a normal end."""
    with subprocess.Popen(
        [sys.executable, "-m", "proftool", "open", "calls", "--viewer", "snakeviz", "--no-browser"],
        cwd=kept.root,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            assert child.stdout is not None
            address = next(found[0] for line in child.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+/\S+", line)))
            for _ in range(100):
                try:
                    page = urllib.request.urlopen(address, timeout=120).read().decode()
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                pytest.fail("snakeviz did not answer")
            assert "leaf" in page
        finally:
            os.killpg(child.pid, signal.SIGINT)
        assert child.wait(120) == 0


def test_doctor_names_every_backend_and_repairs(project: Project) -> None:
    """Each backend with its state; the JSON says the same; --repair puts a damaged profile aside and says so."""
    told = project.proftool("doctor")
    assert told.status == 0
    assert all(name in told.out for name in ("pyinstrument", "py-spy", "cprofile", "memray"))
    assert project.proftool("run", "--backend", "cprofile", "-c", "1").status == 0
    assert project.proftool("doctor", "--json").json["schema"].startswith("proftool.doctor/")
    (blob,) = (project.root / ".proftool").rglob("*.proftool")
    blob.chmod(0o600)
    blob.write_bytes(blob.read_bytes()[:-50])
    damaged = project.proftool("show")
    assert damaged.status in (6, 9)
    assert "Traceback" not in damaged.err
    assert "repaired: " in project.proftool("doctor", "--repair").out
