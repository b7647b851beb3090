"""Recording a running process: each end gives a whole recording, and the process lives on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from launch.services import SERVICE, service, started

from proftool.backends import memray, pyspy
from proftool.contracts import Backend, Mode, Process, Recording, RecordOptions
from proftool.errors import BackendFailed
from proftool.launch import attach, clocks, inject, parts
from proftool.launch.clocks import family
from proftool.model.profile import Profile
from proftool.model.tree import function_total

# So long that what is to be seen has its turn on a busy machine too.
SAMPLE = RecordOptions(mode=Mode.SAMPLE, duration_ns=3 * 10**9)
MEMORY = RecordOptions(mode=Mode.MEMORY, duration_ns=3 * 10**9)
UNTIL_THE_END = RecordOptions(mode=Mode.MEMORY)
needs_gdb = pytest.mark.skipif(not shutil.which("gdb"), reason="memray attaches through gdb")


def recorded(backend: Backend, pid: int, options: RecordOptions, folder: Path, stop: threading.Event | None = None) -> Recording:
    """A recording of the process by that backend."""
    process = Process(pid=pid)
    return attach.attach(process, backend.command(process, options, folder), options, folder, stop)


def total(profile: Profile, metric: str, name: str) -> int:
    """Total of the functions of that qualified name."""
    values = function_total(profile, profile.metric_index(metric))
    return sum(int(values[i]) for i in range(len(values)) if profile.text(int(profile.functions.qualname[i])) == name)


def end_after(folder: Path, pattern: str) -> None:
    """End the service two seconds after the recording has begun to fill a file."""
    while not any(file.stat().st_size for file in folder.glob(pattern)):
        time.sleep(0.05)
    time.sleep(2)
    (folder / "end").touch()


def stop_after(file: Path, stop: threading.Event) -> None:
    """Stop the recording two seconds after it has begun to write that file: how long it takes to attach is the machine's."""
    end = time.monotonic() + 120
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(2)
    stop.set()


def test_pyspy_records_for_the_time_asked(tmp_path: Path) -> None:
    """Every thread by name, the time that was asked for, and the process lives."""
    with service() as process:
        recording = recorded(pyspy.backend, process.pid, SAMPLE, tmp_path)
        assert process.poll() is None
    profile = pyspy.backend.read(recording)
    assert {profile.text(int(name)) for name in profile.lanes.thread_name} == {"MainThread", "side"}
    assert recording.exit_status is None
    assert recording.duration_ns >= 3 * 10**9
    assert profile.meta.passes[0].attached
    assert total(profile, "wall_time", "burn") > 0


def test_pyspy_is_stopped_from_another_thread(tmp_path: Path) -> None:
    """What was recorded until then is kept."""
    stop = threading.Event()
    with service() as process:
        stopper = threading.Thread(target=stop_after, args=(tmp_path / clocks.FILE, stop))
        stopper.start()
        recording = recorded(pyspy.backend, process.pid, RecordOptions(mode=Mode.SAMPLE), tmp_path, stop)
        stopper.join()
    assert total(pyspy.backend.read(recording), "wall_time", "serve") > 0


def test_pyspy_keeps_what_it_has_when_the_process_ends(tmp_path: Path) -> None:
    """The end of the process is an end of the recording like any other, and is told."""
    with service(str(tmp_path / "end")) as process:
        threading.Thread(target=end_after, args=(tmp_path, "chatter"), daemon=True).start()
        recording = recorded(pyspy.backend, process.pid, RecordOptions(mode=Mode.SAMPLE), tmp_path)
        assert process.wait(120) == 0
    assert total(pyspy.backend.read(recording), "wall_time", "serve") > 0
    assert any("ended" in note for note in recording.notes)


def test_pyspy_sees_the_workers_of_a_master(tmp_path: Path) -> None:
    """Each process is a lane of its own with its parent's PID."""
    script = "import os, runpy, sys\nos.fork()\nrunpy.run_path(sys.argv.pop(1), run_name='__main__')\n"
    with started(sys.executable, "-c", script, str(SERVICE)) as process:
        worker = next(pid for pid in family(process.pid) if pid != process.pid)
        try:
            time.sleep(0.5)
            profile = pyspy.backend.read(recorded(pyspy.backend, process.pid, SAMPLE, tmp_path))
        finally:
            os.kill(worker, signal.SIGKILL)
    assert set(profile.lanes.pid.tolist()) == {process.pid, worker}
    assert set(profile.lanes.ppid[profile.lanes.pid == worker].tolist()) == {process.pid}


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="makes a container")
def test_pyspy_reads_a_process_of_another_pid_namespace(tmp_path: Path) -> None:
    """As from a container's host."""
    with started("unshare", "--pid", "--fork", "--mount-proc", sys.executable, str(SERVICE)) as outer:
        (inner,) = (pid for pid in family(outer.pid) if pid != outer.pid)
        try:
            profile = pyspy.backend.read(recorded(pyspy.backend, inner, SAMPLE, tmp_path))
        finally:
            os.kill(inner, signal.SIGKILL)
    assert total(profile, "wall_time", "serve") > 0


@needs_gdb
def test_memray_records_what_is_allocated_meanwhile(tmp_path: Path) -> None:
    """By function, nothing of the recorder's own, and the process lives."""
    with service() as process:
        recording = recorded(memray.backend, process.pid, MEMORY, tmp_path)
        assert process.poll() is None
        profile = memray.backend.read(recording)
        again = tmp_path / "again"
        again.mkdir()
        assert memray.backend.read(recorded(memray.backend, process.pid, MEMORY, again)).cells
        assert process.poll() is None
    assert total(profile, "allocated_bytes", "Shop.grow") >= 10 * (1 << 18)
    names = {profile.text(int(name)) for name in profile.functions.qualname}
    assert not any("proftool" in name for name in names)
    assert "side" in recording.processes[0].thread_names.values()


@needs_gdb
def test_memray_does_not_keep_the_process_from_its_end(tmp_path: Path) -> None:
    """The recording is written on the way out, whole."""
    with service(str(tmp_path / "end")) as process:
        threading.Thread(target=end_after, args=(tmp_path, "part-*"), daemon=True).start()
        recording = recorded(memray.backend, process.pid, UNTIL_THE_END, tmp_path)
        assert process.wait(120) == 0
    assert recording.processes[0].complete
    assert total(memray.backend.read(recording), "allocated_bytes", "Shop.grow") > 1 << 20


@needs_gdb
def test_memray_says_what_is_missing_when_the_process_is_cut_off(tmp_path: Path) -> None:
    """`os._exit` leaves no time to write; what was written until then is there, and the status is the process's own."""
    with service(str(tmp_path / "end"), "3") as process:
        threading.Thread(target=end_after, args=(tmp_path, "part-*"), daemon=True).start()
        recording = recorded(memray.backend, process.pid, UNTIL_THE_END, tmp_path)
        assert process.wait(120) == 3
    first = recording.processes[0]
    assert not first.complete
    assert any("ended in the middle" in note for note in first.notes)


@needs_gdb
def test_a_sleeper_is_left_alone_and_wakes_unharmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """gdb waits in it for a safe place with breakpoints set; given up, they must be gone."""
    monkeypatch.setattr(inject, "_SAFE_PLACE_S", 4.0)
    os.mkfifo(wakes := tmp_path / "wakes")
    # One call that sleeps until somebody writes: however long gdb takes to begin, it is still asleep.
    code = "import os, sys; print('ready', flush=True); os.open(sys.argv[1], os.O_RDONLY)"
    code += "; print(sum(len(bytearray(9999)) for _ in range(99)), flush=True)"
    with started(sys.executable, "-c", code, str(wakes)) as process:
        with pytest.raises(BackendFailed, match="could not be brought into"):
            recorded(memray.backend, process.pid, MEMORY, tmp_path)
        assert process.poll() is None
        os.close(os.open(wakes, os.O_WRONLY))
        assert process.stdout is not None
        assert process.stdout.read().strip() == str(99 * 9999)
        assert process.wait(120) == 0


@needs_gdb
def test_the_death_of_proftool_takes_the_recorder_out(tmp_path: Path) -> None:
    """Killed in the middle, it leaves a process that can be recorded again."""
    code = (
        "import sys; from pathlib import Path; from launch import test_attach as t; "
        "t.recorded(t.memray.backend, int(sys.argv[1]), t.UNTIL_THE_END, Path(sys.argv[2]))"
    )
    with service() as process:
        env = os.environ | {"PYTHONPATH": os.pathsep.join((str(Path(__file__).parents[1]), str(Path(__file__).parents[2])))}
        with subprocess.Popen([sys.executable, "-c", code, str(process.pid), str(tmp_path)], env=env) as recorder:
            part = tmp_path / f"part-{process.pid}-0.memray"
            end = time.monotonic() + 120
            while not part.exists() and time.monotonic() < end:
                time.sleep(0.05)
            assert part.exists()
            recorder.kill()
        again = tmp_path / "again"
        again.mkdir()
        assert total(memray.backend.read(recorded(memray.backend, process.pid, MEMORY, again)), "allocated_bytes", "Shop.grow") > 0
        assert process.poll() is None
        assert parts.state(process.pid) in ("R", "S")
