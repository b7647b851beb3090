"""The verbs for running processes, as typed."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from cli.command import Project
from launch.services import service, started


def worked(process: psutil.Process, seconds: float) -> None:
    """Until it has had that much more of a processor: whoever looks at it meanwhile has had a turn too."""
    before, end = sum(process.cpu_times()[:2]), time.monotonic() + 150
    while sum(process.cpu_times()[:2]) < before + seconds:
        assert time.monotonic() < end, "the worker got no processor"
        time.sleep(0.05)


def test_attach_keeps_a_run_under_its_label(project: Project) -> None:
    """With the process's command line and the functions that it was in."""
    with service() as process:
        done = project.proftool("attach", process.pid, "--duration", "5s", "--label", "live", "--json")
        assert done.status == 0, done.err
        assert process.poll() is None
    assert done.json["run"]["label"] == "live"
    assert any("service.py" in word for word in done.json["run"]["command"])
    assert {"burn", "Shop.grow"} <= {row["name"] for row in done.json["functions"]}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_recording_and_keeps_it(project: Project, number: signal.Signals) -> None:
    """Ctrl-C is how a recording without `--duration` is meant to end."""
    with service() as process:
        attached = subprocess.Popen(
            [sys.executable, "-m", "proftool", "attach", str(process.pid), "--label", "cut"],
            cwd=project.root,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert attached.stderr is not None
        assert "Ctrl-C ends it" in attached.stderr.readline()
        worked(psutil.Process(process.pid), 1)
        attached.send_signal(number)
        _, err = attached.communicate(timeout=120)
        assert attached.returncode == 0, err
        assert process.poll() is None
    assert project.proftool("show", "cut", "--json").json["run"]["label"] == "cut"


def test_check_tells_what_can_and_what_cannot(project: Project) -> None:
    """Every backend, each that cannot with cause and fix."""
    with service() as process:
        done = project.proftool("attach", process.pid, "--check")
        told = project.proftool("attach", process.pid, "--check", "--json").json
    assert done.status == 0
    assert "py-spy" in done.out
    rows = {row["backend"]: row for row in told["backends"]}
    assert rows["py-spy"]["can"]
    assert not rows["cprofile"]["can"]
    assert rows["cprofile"]["fix"]
    assert rows["memray"]["can"] == bool(shutil.which("gdb"))


def test_match_finds_the_process(project: Project, tmp_path: Path) -> None:
    """By a part of its command line that no other has."""
    mark = str(tmp_path / "never-there")
    with service(mark) as process:
        assert f"process {process.pid}" in project.proftool("attach", "--match", mark, "--check").out
    missing = project.proftool("attach", "--match", mark, "--check")
    assert missing.status == 2
    assert "fix:" in missing.err


@pytest.mark.parametrize("verb", ["attach", "dump"])
def test_a_process_that_is_gone_is_status_2(project: Project, verb: str) -> None:
    """What, cause and fix, and nothing of py-spy's own words."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    done = project.proftool(verb, process.pid)
    assert done.status == 2
    assert "cause:" in done.err
    assert "fix:" in done.err
    assert "panicked" not in done.err
    assert not done.out


@pytest.mark.parametrize(
    "words",
    [
        ("--backend", "pyinstrument"),
        ("--mode", "trace"),
        ("--backend", "memray", "--rate", "99"),
        ("--duration", "0"),
        ("--duration", "soon"),
    ],
)
def test_what_no_backend_honours_is_refused(project: Project, words: tuple[str, ...]) -> None:
    """Before anything is touched."""
    with service() as process:
        done = project.proftool("attach", process.pid, *words)
    assert done.status == 2
    assert "fix:" in done.err


def test_dump_shows_every_thread_with_its_lines(project: Project) -> None:
    """Threads by name, calls by qualified name, and the text of the line."""
    with service() as process:
        done = project.proftool("dump", process.pid)
        told = project.proftool("dump", process.pid, "--json").json
    assert done.status == 0
    assert "MainThread" in done.out
    assert "side" in done.out
    assert "serve()" in done.out
    assert {thread["name"] for thread in told["threads"]} == {"MainThread", "side"}
    assert all("service.py" in thread["frames"][-1]["file"] or thread["name"] == "side" for thread in told["threads"])


def test_top_needs_a_terminal(project: Project) -> None:
    """And says what does not."""
    with service() as process:
        done = project.proftool("top", process.pid)
    assert done.status == 2
    assert "proftool dump" in done.err


def test_top_draws_the_functions_and_ends_on_ctrl_c(project: Project) -> None:
    """In a terminal, with status 0, and the process lives on."""
    with service() as process:
        shell, terminal = pty.openpty()
        top = subprocess.Popen(
            [sys.executable, "-m", "proftool", "top", str(process.pid)],
            cwd=project.root,
            stdin=terminal,
            stdout=terminal,
            stderr=subprocess.PIPE,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"},
        )
        os.close(terminal)
        drawn = b""
        end = time.monotonic() + 120
        while b"serve" not in drawn and time.monotonic() < end and top.poll() is None:
            if select.select([shell], [], [], 0.2)[0]:
                drawn += os.read(shell, 65536)
        top.send_signal(signal.SIGINT)
        while top.poll() is None and time.monotonic() < end:
            if select.select([shell], [], [], 0.2)[0]:
                try:
                    drawn += os.read(shell, 65536)
                except OSError:
                    break
        _, err = top.communicate(timeout=120)
        os.close(shell)
        assert b"burn" in drawn, (drawn, err)
        assert top.returncode == 0, err
        assert process.poll() is None


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="becomes another user")
def test_a_user_without_rights_records_a_process_of_their_own() -> None:
    """And is told in one line what keeps them from recording another's."""
    as_nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", sys.executable]
    code = "import time\nprint('ready', flush=True)\ndef spin():\n    while True: sum(range(999))\nspin()\n"
    with tempfile.TemporaryDirectory(prefix="nobody-", dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        (Path(folder) / "pyproject.toml").touch()
        env = {name: value for name, value in os.environ.items() if not name.startswith("PROFTOOL")} | {"HOME": folder}

        def attach(pid: int, *words: str) -> subprocess.CompletedProcess[str]:
            command = [*as_nobody, "-m", "proftool", "attach", str(pid), *words]
            return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=150)

        if subprocess.run([*as_nobody, "-c", "import proftool"], cwd=folder, env=env, capture_output=True).returncode:
            pytest.skip("this checkout is not readable for others")
        with started(*as_nobody, "-c", code) as process:
            done = attach(process.pid, "--duration", "1s", "--label", "own", "--json")
            scope = Path("/proc/sys/kernel/yama/ptrace_scope")
            if done.returncode:
                assert scope.exists(), done.stderr
                assert "ptrace_scope" in done.stderr
            else:
                assert any(row["name"] == "spin" for row in json.loads(done.stdout)["functions"])
            assert process.poll() is None
        with service() as process:
            refused = attach(process.pid, "--duration", "1s")
            assert process.poll() is None
        assert refused.returncode == 4
        assert "another user" in refused.stderr
        assert "fix:" in refused.stderr


@pytest.mark.timeout(600)
def test_match_follows_workers_that_come_and_go(project: Project, tmp_path: Path) -> None:
    """A master is found by its command line; one of its workers ends and another begins while it is recorded."""
    (tmp_path / "master.py").write_text(MASTER)
    with started(sys.executable, str(tmp_path / "master.py"), str(tmp_path / "change")) as process:
        command = [sys.executable, "-m", "proftool", "attach", "--match", str(tmp_path / "change"), "--json"]
        attached = subprocess.Popen(command, cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert attached.stderr is not None
        assert "Ctrl-C ends it" in attached.stderr.readline()
        master = psutil.Process(process.pid)
        early = master.children()
        for worker in early:
            worked(worker, 2)
        (tmp_path / "change").touch()
        end = time.monotonic() + 120
        while len(late := [worker for worker in master.children() if worker not in early]) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(late) == 2
        for worker in late:
            worked(worker, 2)
        attached.send_signal(signal.SIGINT)
        out, err = attached.communicate(timeout=150)
        assert attached.returncode == 0, err
        assert process.poll() is None
    told = json.loads(out)
    assert {lane["pid"] for lane in told["lanes"]} - {process.pid} == {worker.pid for worker in (*early, *late)}
    assert {lane["ppid"] for lane in told["lanes"] if lane["pid"] != process.pid} == {process.pid}
    assert {"early", "late"} <= {row["name"] for row in told["functions"]}


MASTER = """
import ctypes, os, sys, time
def early():
    while not os.path.exists(sys.argv[1]): sum(range(9999))
def late():
    while True: sum(range(9999))
def worker(work):
    if not (pid := os.fork()):
        ctypes.CDLL(None).prctl(1, 9)  # they die with the master
        work()
        os._exit(0)
    return pid
gone = [worker(early), worker(early)]
print("ready", flush=True)
for pid in gone:
    os.waitpid(pid, 0)
    worker(late)
time.sleep(600)
"""
