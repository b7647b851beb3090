"""What is known of a running process before anything touches it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from launch.services import SERVICE, service, started

from proftool.contracts import Available, Process, Unavailable
from proftool.errors import TargetError
from proftool.launch import preflight
from proftool.launch.clocks import family

SLEEP = "import time; print('ready', flush=True); time.sleep(60)"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes its user or makes namespaces")


def test_a_python_process_is_known_and_may_be_read() -> None:
    """Version, command line and place of a process of our own user."""
    with service() as process:
        known = preflight.facts(process.pid)
        assert known.interpreter is not None
        assert known.interpreter.version == sys.version_info[:3]
        assert known.argv[-1] == str(SERVICE)
        assert known.cwd == Path.cwd()
        assert known.may_read
        assert not known.foreign
        assert preflight.may_trace(known) is None


def test_the_packages_of_a_virtual_environment_are_found() -> None:
    """argv[0] is the environment's own link to Python, so the packages are its own."""
    with service() as process:
        known = preflight.facts(process.pid)
        assert known.interpreter is not None
        assert known.interpreter.executable == Path(sys.executable)


def test_a_process_that_is_gone_is_a_target_error() -> None:
    """With advice on how to find one."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(TargetError) as caught:
        preflight.facts(process.pid)
    assert "pgrep" in caught.value.fix


@pytest.mark.parametrize("pid", [0, -1, 1 << 30])
def test_a_number_that_no_process_has_is_a_target_error(pid: int) -> None:
    """Whatever the number."""
    with pytest.raises(TargetError):
        preflight.facts(pid)


def test_a_zombie_has_ended() -> None:
    """Its number is still taken, and nothing else of it is left."""
    process = subprocess.Popen(["true"])
    try:
        end = time.monotonic() + 60
        while "Z" not in preflight.read(process.pid, "stat") and time.monotonic() < end:
            time.sleep(0.01)
        with pytest.raises(TargetError, match="has ended"):
            preflight.facts(process.pid)
    finally:
        process.wait()


def test_another_program_is_not_python() -> None:
    """And is named."""
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            time.sleep(0.1)
            with pytest.raises(TargetError, match="is not Python") as caught:
                preflight.facts(process.pid)
            assert "`sleep`" in caught.value.cause
        finally:
            process.kill()


def test_the_python_below_a_launcher_is_named() -> None:
    """A shell, `uv run` or a supervisor starts the Python that is meant."""
    with started("bash", "-c", f'"{sys.executable}" -c "{SLEEP}"; true') as process:
        child = next(pid for pid in family(process.pid) if pid != process.pid)
        try:
            with pytest.raises(TargetError) as caught:
                preflight.facts(process.pid)
            assert f"attach {child}" in caught.value.fix
        finally:
            os.kill(child, 9)


def test_a_process_is_found_by_its_command_line(tmp_path: Path) -> None:
    """The master is meant, not its workers, whose command lines are the same."""
    script = tmp_path / "unmistakable.py"
    script.write_text("import os, time\npid = os.fork()\nprint('ready', flush=True) if pid else None\ntime.sleep(60)\n")
    with started(sys.executable, str(script)) as process:
        worker = next(pid for pid in family(process.pid) if pid != process.pid)
        try:
            assert preflight.find("unmistakable.py") == (process.pid,)
        finally:
            os.kill(worker, 9)


def test_a_process_that_is_traced_already_is_refused() -> None:
    """The kernel allows one tracer; which one it is, is told."""
    seize = "import ctypes, sys; assert not ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), 0, 0); "
    with service() as process, started(sys.executable, "-c", seize + SLEEP, str(process.pid)) as tracer:
        refusal = preflight.may_trace(preflight.facts(process.pid))
        assert refusal is not None
        assert str(tracer.pid) in refusal.cause
        assert refusal.exit_code == 4


@needs_root
def test_another_users_process_needs_permission() -> None:
    """The answer is the kernel's, the cause and the fix are for people."""
    with service() as process:
        told = _as_nobody(lambda: preflight.may_trace(preflight.facts(process.pid)))
        assert "another user (root)" in told
        assert "sudo" in told
        assert "exit_code=4" in told


@needs_root
def test_a_process_that_may_not_be_read_is_left_alone() -> None:
    """PID 1 of another user is Python or not, nobody may know; it is permission that is missing."""
    told = _as_nobody(lambda: preflight.may_trace(preflight.facts(1)))
    assert "exit_code=4" in told


@needs_root
@pytest.mark.skipif(not shutil.which("unshare"), reason="needs util-linux")
def test_memray_stays_out_of_a_network_of_its_own() -> None:
    """It could not call back; py-spy reads from outside and does not mind."""
    with started("unshare", "--net", sys.executable, "-c", SLEEP) as process:
        assert preflight.facts(process.pid).foreign == {"net"}
        memray, pyspy = _answers(process.pid)
        assert isinstance(memray, Unavailable)
        assert "network" in memray.cause
        assert isinstance(pyspy, Available)


@needs_root
@pytest.mark.skipif(not shutil.which("unshare"), reason="needs util-linux")
def test_a_container_is_told_apart() -> None:
    """Own process numbers and file system: py-spy can, memray is told to come inside."""
    with started("unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", SLEEP) as outer:
        (inner,) = (pid for pid in family(outer.pid) if pid != outer.pid)
        try:
            assert {"pid", "mnt"} <= preflight.facts(inner).foreign
            memray, pyspy = _answers(inner)
            assert isinstance(memray, Unavailable)
            assert "docker exec" in memray.fix
            assert isinstance(pyspy, Available)
        finally:
            os.kill(inner, 9)


@needs_root
@pytest.mark.skipif(not shutil.which("unshare"), reason="needs util-linux")
def test_a_user_namespace_of_our_own_may_be_read() -> None:
    """Its parent's rights reach into it."""
    with started("unshare", "--user", "--map-root-user", sys.executable, "-c", SLEEP) as process:
        known = preflight.facts(process.pid)
        assert "user" in known.foreign
        assert preflight.may_trace(known) is None


def _answers(pid: int) -> tuple[Available | Unavailable, Available | Unavailable]:
    from proftool.backends import memray, pyspy

    return memray.backend.preflight(Process(pid=pid)), pyspy.backend.preflight(Process(pid=pid))


def _as_nobody(ask: Callable[[], object]) -> str:
    """What `ask` answers in a process of the user `nobody`."""
    import pwd  # noqa: F401  # imported before the user changes, who may not read where Python lies

    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            answer = repr(ask())
        except BaseException as error:
            answer = repr(error)
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8") as stream:
        told = stream.read()
    os.waitpid(child, 0)
    return told
