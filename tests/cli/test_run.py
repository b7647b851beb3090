"""`proftool run` from the outside."""

import pytest
from cli.command import Project

BUSY = """
import sys, time
def busy(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        sum(range(200))
busy(0.3)
"""


@pytest.mark.parametrize("backend", ["pyinstrument", "cprofile"])
def test_status_and_stdout_are_the_targets(project: Project, backend: str) -> None:
    """The target's status is proftool's, its stdout untouched, and the summary on stderr names what took the time."""
    script = project.write("app.py", BUSY + "print('out', *sys.argv[1:])\nsys.exit(3)\n")
    done = project.proftool("run", "--backend", backend, script, "--label", "mine")
    assert (done.status, done.out) == (3, "out --label mine\n")
    assert "busy" in done.err
    assert len(done.err.splitlines()) <= 15
    run = project.proftool("show", "--json").json["run"]
    assert (run["exit_status"], run["label"], run["backends"]) == (3, None, [backend])


def test_two_modes_are_two_passes_and_one_run(project: Project) -> None:
    """Both passes read the same piped input; the run has time and calls, and the passes are announced."""
    script = project.write("app.py", BUSY + "print(len(sys.stdin.read()))\n")
    done = project.proftool("run", "--backend", "pyinstrument", "--backend", "cprofile", script, stdin="x" * 200_000)
    assert (done.status, done.out) == (0, "200000\n200000\n")
    assert done.err.startswith("runs 2 times: sample with pyinstrument, trace with cprofile\n")
    assert len(project.proftool("list", "--json").json["runs"]) == 1
    assert {"wall_time", "calls"} <= {metric["name"] for metric in project.proftool("show", "--json").json["metrics"]}


def test_several_runs_keep_going_and_answer_with_the_first_failure(project: Project) -> None:
    """`--runs 3` stores three runs of which the second failed, and exits with the status of that one."""
    code = "import os; n = len(os.listdir('seen')); open(f'seen/{n}', 'w').close(); sys.exit(7 if n == 1 else 0)\n"
    (project.root / "seen").mkdir()
    done = project.proftool("run", "--backend", "cprofile", "--runs", "3", "--label", "l", project.write("app.py", BUSY + code))
    assert done.status == 7
    runs = project.proftool("list", "--json").json["runs"]
    assert [run["exit_status"] for run in runs] == [0, 7, 0]


def test_json_leaves_stdout_to_the_document(project: Project) -> None:
    """The target's stdout goes to stderr, so that stdout is one JSON document."""
    done = project.proftool("run", "--backend", "cprofile", "--json", project.write("app.py", BUSY + "print('out')\n"))
    assert done.json["schema"] == "proftool.show/1"
    assert "out" in done.err.splitlines()


def test_quiet_says_nothing(project: Project) -> None:
    """`--quiet` leaves stderr to the target."""
    assert project.proftool("run", "--quiet", "--backend", "cprofile", project.write("app.py", BUSY)).err == ""


def test_an_empty_recording_is_status_5_and_the_targets_own_failure_stays(project: Project) -> None:
    """A target too short to sample is a loss: 5 where the target returned 0, the target's status otherwise."""
    for code, status in (("pass", 5), ("raise SystemExit(3)", 3)):
        done = project.proftool("run", "--backend", "pyinstrument", "--rate", "1", "-c", code)
        assert done.status == status
        assert "error: pyinstrument recorded no sample" in done.err


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["run", "absent.py"], 2, "cannot find `absent.py`"),
        (["run"], 2, "nothing to run"),
        (["run", "--mode", "trace", "--backend", "pyinstrument", "-c", "1"], 2, "contradicts"),
        (["run", "--mode", "tracing", "-c", "1"], 2, "did you mean `trace`?"),
        (["run", "--backend", "cprofil", "-c", "1"], 2, "did you mean `cprofile`?"),
        (["run", "--backend", "cprofile", "--rate", "10", "-c", "1"], 2, "takes no `--rate`"),
        (["run", "--backend", "cprofile", "--native", "-c", "1"], 2, "sees no native frames"),
        (["run", "--rate", "0", "-c", "1"], 2, "cannot be kept"),
        (["run", "--runs", "0", "-c", "1"], 2, "no number of runs"),
        (["run", "--label", "@x", "-c", "1"], 2, "cannot be a label"),
        (["run", "-o", "out.unknown", "-c", "1"], 2, "which format?"),
        (["run", "--python", "/absent/python", "-c", "1"], 2, "no interpreter"),
        (["run", "--labl", "x", "-c", "1"], 2, "did you mean"),
        (["shwo"], 2, "did you mean `proftool show`?"),
        (["show", "no-such-run"], 7, "no run named"),
        (["show", "--by", "file"], 2, "no key `file`"),
    ],
)
def test_errors_say_what_cause_and_fix(project: Project, words: list[str], status: int, told: str) -> None:
    """Every refusal comes before the target runs, with its status and without a traceback."""
    done = project.proftool(*words)
    assert done.status == status, done.err
    assert told in done.err
    assert "cause: " in done.err
    assert "fix: " in done.err
    assert "Traceback" not in done.err
    assert not (project.root / ".proftool" / "runs.db").exists()


def test_debug_shows_the_traceback(project: Project) -> None:
    """With `--debug` the traceback stands before the error."""
    err = project.proftool("run", "--debug", "absent.py").err
    assert "Traceback" in err
    assert "error: cannot find" in err
