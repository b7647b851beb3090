"""Failures from the outside: what, cause and fix, a status of their own, never a traceback of proftool's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli.command import Done, Project

FAILING = """
def fail():
    kept = [bytearray(1000) for _ in range(2000)]
    total = sum(i * i for i in range(1_500_000))
    raise KeyError('lost')
fail()
"""


def assert_told(done: Done, status: int, *words: str) -> None:
    """The error is complete, says these words, and is no traceback."""
    assert done.status == status, done.err
    assert [word for word in ("error: ", "cause: ", "fix: ", *words) if word not in done.err] == [], done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("backend", ["pyinstrument", "py-spy", "cprofile", "memray"])
def test_a_script_that_raises_keeps_its_traceback_its_status_and_its_run(project: Project, backend: str) -> None:
    """Status 1 and the script's own traceback without a frame of proftool's; what was recorded until then is a run."""
    project.write("app.py", FAILING)
    done = project.proftool("run", "--backend", backend, "app.py")
    assert done.status == 1
    trace = done.err[: done.err.index("KeyError: 'lost'")]
    assert "in fail" in trace
    assert "proftool" not in trace.replace(str(project.root), "")
    (run,) = project.proftool("list", "--json").json["runs"]
    assert (run["exit_status"], run["backends"]) == (1, [backend])


def test_a_missing_script_proposes_the_one_that_is_there(project: Project) -> None:
    """The fix names what can be run."""
    project.write("server.py", "1")
    assert_told(project.proftool("run", "servr.py"), 2, "cannot find `servr.py`")


def test_a_process_that_is_gone_or_is_no_python(project: Project) -> None:
    """A dead pid, and a shell."""
    with subprocess.Popen([sys.executable, "-c", "1"]) as ended:
        ended.wait()
    for verb in ("attach", "dump"):
        assert_told(project.proftool(verb, ended.pid), 2, f"no process {ended.pid}")
    with subprocess.Popen(["sleep", "60"]) as shell:
        try:
            done = project.proftool("attach", shell.pid, "--duration", "1s")
            assert_told(done, done.status, str(shell.pid))
            assert done.status in (2, 3, 5)
            assert shell.poll() is None
        finally:
            shell.kill()


OTHER = Path.home() / ".pyenv/versions/3.12.1/bin/python"


@pytest.mark.skipif(not OTHER.exists(), reason="no second Python here")
def test_a_backend_that_the_other_python_lacks(project: Project) -> None:
    """memray is compiled for one version: status 3, and the command that installs it there; nothing ran."""
    done = project.proftool("run", "--backend", "memray", "--python", OTHER, "-c", "open('ran', 'w')")
    assert_told(done, 3, "memray cannot record here", "3.12", "pip install memray")
    assert not (project.root / "ran").exists()


@pytest.mark.skipif(not OTHER.exists(), reason="no second Python here")
def test_cprofile_records_with_the_other_python(project: Project) -> None:
    """What needs nothing installed works with any interpreter."""
    done = project.proftool("run", "--backend", "cprofile", "--python", OTHER, "-c", "import sys; print(sys.version_info[:2])")
    assert (done.status, done.out) == (0, "(3, 12)\n"), done.err


def test_unknown_run_with_a_near_label(project: Project) -> None:
    """Status 7, and the label that was meant."""
    assert project.proftool("run", "--backend", "cprofile", "--label", "baseline", "-c", "1").status == 0
    assert_told(project.proftool("show", "basline"), 7, "no run named `basline`", "did you mean `baseline`?")
    assert_told(project.proftool("diff", "baseline", "bseline"), 7, "did you mean `baseline`?")


def test_a_newer_file_and_a_file_that_is_none(project: Project) -> None:
    """A cut run, a text, a folder: status 6 or 7 and no traceback."""
    assert project.proftool("run", "--backend", "cprofile", "-o", "x.proftool", "-c", "1").status == 0
    content = (project.root / "x.proftool").read_bytes()
    (project.root / "cut.proftool").write_bytes(content[: len(content) // 2])
    (project.root / "image").write_bytes(bytes(range(256)) * 8)
    assert_told(project.proftool("show", "./cut.proftool"), 6, "cut.proftool")
    assert_told(project.proftool("import", "image"), 6, "is no profile that proftool reads")
    scope = {"$schema": "https://www.speedscope.app/file-format-schema.json", "shared": {"frames": []}, "profiles": [{"type": "future"}]}
    project.write("new.json", json.dumps(scope))
    assert_told(project.proftool("import", "new.json"), 6, "new.json")


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_disk_loses_the_run_and_not_the_target(project: Project) -> None:
    """The target's output is whole; the loss is said; status 5 or 9 since the target itself returned 0."""
    small = project.root / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        env = os.environ | {"PROFTOOL_STORE": str(small / "store"), "NO_COLOR": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "proftool", "run", "--backend", "cprofile", "-c", "import json, argparse, unittest; print('whole')"],
            cwd=project.root, env=env, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    finally:
        subprocess.run(["umount", small], check=True)
    assert done.stdout == "whole\n"
    assert_told(Done(done.returncode, done.stdout, done.stderr), done.returncode)
    assert done.returncode in (5, 9)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--mode", "memory", "--rate", "10", "-c", "1"],
        ["run", "--mode", "trace", "--native", "-c", "1"],
        ["run", "--mode", "memory", "--backend", "py-spy", "-c", "1"],
        ["attach", "--duration", "0", str(os.getpid())],
        ["attach"],
        ["label", "@latest"],
        ["prune", "--older-than", "soon"],
        ["gate", "a", "b", "--fail-on", "slow"],
        ["open", "--viewer", "none"],
        ["export", "-o", "x.unknown"],
    ],
)  # fmt: skip
def test_contradicting_and_wrong_options(project: Project, words: list[str]) -> None:
    """Each is refused, with the way out, before anything is recorded."""
    done = project.proftool(*words)
    assert done.status in (2, 7), done.err
    assert_told(done, done.status)
    assert not (project.root / ".proftool" / "runs.db").exists()


def test_the_targets_debug_is_not_ours(project: Project) -> None:
    """Behind the script it is the script's, and a failure shows no traceback of proftool's for it."""
    assert_told(project.proftool("run", "absent.py", "--debug"), 2, "cannot find `absent.py`")
    assert "Traceback" in project.proftool("--debug", "run", "absent.py").err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the device that is always full is Linux's")
def test_a_full_disk_under_stdout_is_told(project: Project) -> None:
    """As cause and fix, by whichever way the words get there."""
    project.write("app.py", "sum(i * i for i in range(300_000))")
    assert project.proftool("run", "--quiet", "--mode", "trace", "app.py").status == 0
    for words in (("list",), ("show",), ("show", "--json"), ("export", "-f", "collapsed", "-o", "-")):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "proftool", *words], cwd=project.root, stdout=full, stderr=subprocess.PIPE, text=True
            )
        assert done.returncode == 2, done.stderr
        assert "cause: No space left on device" in done.stderr
        assert "has a fault" not in done.stderr


@pytest.mark.parametrize("verb", ["ab", "bisect"])
def test_what_is_missing_is_no_thing_that_is_not_taken(project: Project, verb: str) -> None:
    """A lacking argument is said to be needed, an unknown option not to be known."""
    assert_told(project.proftool(verb), 2, "missing argument", f"`proftool {verb}` cannot do without it")
    assert_told(project.proftool(verb, "--nothing"), 2, f"`proftool {verb}` does not take that")


@pytest.mark.parametrize("words", [("ab", "main", "--", "python", "x.py"), ("bisect", "v1", "v2", "--", "python", "x.py")])
def test_revisions_outside_of_a_repository(project: Project, words: tuple[str, ...]) -> None:
    """That there is no repository is said, and no revision of one is asked for."""
    done = project.proftool(*words)
    assert_told(done, 2, "there is no git repository here", "go to a checkout")
    assert "branch, tag" not in done.err
