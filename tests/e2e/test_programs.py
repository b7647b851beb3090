"""Real programs under every backend, by the command line alone: nothing of them changes, and what is recorded is theirs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cli.command import Done, Project
from e2e.programs import PROGRAMS, RealProgram

BACKENDS = {"pyinstrument": "wall_time", "py-spy": "wall_time", "cprofile": "wall_time", "memray": "allocated_bytes"}
pytestmark = pytest.mark.timeout(1800)  # a busy machine, not a measure
_plain: dict[str, Done] = {}


def plain(name: str, program: RealProgram, project: Project) -> Done:
    """The program without proftool, once for all backends."""
    if name not in _plain:
        done = subprocess.run(
            [sys.executable, *program.words(project.root)],
            cwd=project.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        _plain[name] = Done(done.returncode, program.steady(done.stdout), program.steady(done.stderr))
    return _plain[name]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_real_program_is_recorded_and_not_changed(project: Project, name: str, backend: str) -> None:
    """Status and stdout as without proftool; the run is listed; its page is written; functions of the program itself are in it."""
    program = PROGRAMS[name]
    expected = plain(name, program, project)
    assert expected.status == program.status, expected.err

    done = (
        project.proftool("run", "--backend", backend, "--rate", "500", "-o", "page.html", *program.words(project.root))
        if (backend in ("pyinstrument", "py-spy"))
        else project.proftool("run", "--backend", backend, "-o", "page.html", *program.words(project.root))
    )
    assert (done.status, program.steady(done.out)) == (expected.status, expected.out), done.err
    assert "Traceback" not in done.err

    (run,) = project.proftool("list", "--json").json["runs"]
    assert (run["exit_status"], run["backends"]) == (program.status, [backend])
    shown = project.proftool("show", "--json").json
    metric = BACKENDS[backend]
    own = {
        (f["file"], f["name"], f["line"])
        for f in shown["functions"]
        if f["module"] and f["module"].split(".")[0] in program.own and f["total"].get(metric)
    }
    assert len(own) >= 3, sorted({f["module"] for f in shown["functions"] if f["module"]})
    page = (project.root / "page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.count("</script>") >= 1
    assert all(f"src={quote}http" not in page for quote in "'\"")
