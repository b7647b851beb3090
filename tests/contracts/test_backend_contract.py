"""What every backend owes: the target's status and streams are its own, the recording is kept or its loss is told, nothing is left.

Each test is a real run of a program of tests/targets beside a plain one. Backends whose profiler is missing here are skipped by name.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from launch.trial import Ended, Trial

from proftool import registry
from proftool.contracts import Mode, Unavailable
from proftool.launch.interpreter import inspect


def backends() -> list[str]:
    found = []
    for name in registry.names("backend"):
        module = registry.BACKENDS.get(name, "").partition(":")[0]
        if not module:  # a plugin by entry point
            found.append(name)
            continue
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            continue
        found.append(name)
    return found


BACKENDS = backends()
FULL = pytest.mark.full


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    available = registry.backend(request.param).availability(inspect(Path(sys.executable)))
    if isinstance(available, Unavailable):
        pytest.skip(f"{request.param}: {available.cause}")
    return request.param


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    trial = Trial(tmp_path)
    yield trial
    trial.end_all()


def seen(backend: str) -> str:
    """A function of `end` that this backend must have seen."""
    return "hold" if Mode.MEMORY in registry.backend(backend).capabilities.modes else "busy"


def same(trial: Trial, backend: str, *words: str, stdin: bytes | None = None, **asked: Any) -> Ended:
    """Run plain and recorded; status and streams must be equal, and nothing left over."""
    ends = []
    for name in (None, backend):
        with open(trial.results / "stdin", "w+b") as file:
            file.write(stdin or b"")
            file.seek(0)
            ends.append(trial.run(name, *words, stdin=subprocess.DEVNULL if stdin is None else file.fileno(), **asked))
    plain, recorded = ends
    assert (recorded.status, told(recorded, backend), recorded.err) == (plain.status, told(plain, backend), plain.err)
    assert recorded.told["exit_status"] == plain.status
    assert not list(trial.tmp.iterdir())
    return recorded


def told(end: Ended, backend: str) -> bytes | dict[str, Any]:
    """A target's stdout; of `place` through memray, all but the descriptor that it writes to while the program runs."""
    if backend != "memray" or not end.out.startswith(b'{"'):
        return end.out
    return {key: value for key, value in json.loads(end.out).items() if key != "descriptors"}


def admitted(end: Ended, noun: str) -> bool:
    return any(noun in line and ("not" in line or "only" in line or "lost" in line) for line in end.words().splitlines())


# --- endings --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deed", "status"),
    [("", 0), ("sys.exit(3)", 3), ("raise ValueError('my own')", 1), ("os._exit(4)", 4), ("os.kill(os.getpid(), signal.SIGTERM)", 143)],
    ids=["returns", "exits", "raises", "_exit", "SIGTERM"],
)
def test_an_ending_keeps_status_streams_and_recording(trial: Trial, backend: str, deed: str, status: int) -> None:
    """However the program ends itself, its status, its traceback and what was recorded are kept."""
    end = same(trial, backend, "subject.py", "end", "", "0.5", os.devnull, deed)
    assert end.status == status
    assert seen(backend) in end.names(), end.words()
    assert trial.is_empty()


def test_sigkill_of_the_target_is_told(trial: Trial, backend: str) -> None:
    """What SIGKILL destroyed is said with its cause, or it was kept."""
    end = same(trial, backend, "subject.py", "end", "", "0.5", os.devnull, "os.kill(os.getpid(), signal.SIGKILL)")
    assert end.status == 137
    assert seen(backend) in end.names() or "SIGKILL" in end.words()


@pytest.mark.parametrize(
    ("send", "number", "before", "status"),
    [
        (os.kill, signal.SIGTERM, "", 143),
        pytest.param(os.kill, signal.SIGTERM, "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))", 7, marks=FULL),
        pytest.param(os.kill, signal.SIGHUP, "", 129, marks=FULL),
        (os.killpg, signal.SIGINT, "", 130),
        (os.kill, signal.SIGINT, "", 130),
    ],
    ids=["SIGTERM", "SIGTERM-handled", "SIGHUP", "SIGINT-group", "SIGINT-alone"],
)
def test_a_signal_to_proftool_is_the_targets(trial: Trial, backend: str, send: Any, number: int, before: str, status: int) -> None:
    """The target gets it, ends as it does in a plain run, and what was recorded is kept."""
    ready = trial.results / "ready"
    started = trial.start(backend, "subject.py", "end", before, "120", str(ready), "")
    assert started.working(ready)
    send(started.pid, number)
    end = started.ended(120)
    assert end.status == status, end.err
    assert seen(backend) in end.names(), end.words()
    assert trial.is_empty(), trial.alive()
    assert not list(trial.tmp.iterdir())


@pytest.mark.full
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["alone", "group"])
def test_sigint_arrives_once(trial: Trial, backend: str, send: Any) -> None:
    """A target that counts its interrupts counts one, whether proftool alone or the whole group was sent it."""
    ready = trial.results / "ready"
    count = "globals().update(n=0, f=lambda *_: globals().update(n=n + 1)); signal.signal(signal.SIGINT, f)"
    after = "while not n: busy(0.05)\nbusy(1.5)  # a second one would come soon\nprint('interrupts', n)"
    started = trial.start(backend, "subject.py", "end", count, "0", str(ready), after)
    assert started.working(ready)
    send(started.pid, signal.SIGINT)
    end = started.ended(120)
    assert (end.status, end.out) == (0, b"interrupts 1\n"), end.err


def test_sigkill_of_proftool_leaves_no_process(trial: Trial, backend: str) -> None:
    """Target and profiler die with it; none is left running or stopped."""
    ready = trial.results / "ready"
    started = trial.start(backend, "subject.py", "end", "", "120", str(ready), "")
    assert started.working(ready)
    os.kill(started.pid, signal.SIGKILL)
    started.ended(120)
    assert trial.is_empty(), trial.alive()


# --- streams and places ---------------------------------------------------------------------------------------------------


def test_streams_are_byte_identical(trial: Trial, backend: str) -> None:
    """Raw bytes of any kind pass through stdin, stdout and stderr."""
    same(trial, backend, "subject.py", "streams", stdin=os.urandom(200_000))


@pytest.mark.full
def test_latin_1_output_stays(trial: Trial, backend: str) -> None:
    """A target that does not speak UTF-8 writes what it writes in a plain run."""
    trial.environment = {"PYTHONIOENCODING": "latin-1", "LC_ALL": "C"}
    same(trial, backend, "subject.py", "streams")


def test_a_target_may_close_its_stdout(trial: Trial, backend: str) -> None:
    """Its status is its own, and the recording does not depend on its streams."""
    end = same(trial, backend, "subject.py", "closes_stdout")
    assert end.status == 9
    assert end.names()


@pytest.mark.full
def test_a_daemon_does_not_hold_proftool_up(trial: Trial, backend: str) -> None:
    """proftool ends with its direct child, though a grandchild lives on with the same streams, and says what it has not waited for."""
    started = trial.start(backend, "subject.py", "daemon")
    end = started.ended(120)
    assert end.status == 0
    assert trial.alive(), "the daemon has to outlive proftool for this test to say anything"
    assert admitted(end, "process") or "daemon" in end.names(), end.words()


@pytest.mark.parametrize(
    "asked",
    [
        {"words": ["späce dir ☃/pläce ☃.py", "place"]},
        {"words": [], "module": "pack"},
        pytest.param({"words": ["place"], "module": "subject"}, marks=FULL),
        pytest.param({"words": [], "code": "import subject; subject.place()"}, marks=FULL),
        pytest.param({"words": ["subject.py", "place"], "interpreter": ["-O", "-X", "dev"]}, marks=FULL),
        {"words": ["subject.py", "place"], "interpreter": ["-I", "-O"]},
        pytest.param({"words": ["-m", "pack"], "interpreter": ["-S"]}, marks=FULL),
        pytest.param({"words": ["-c", "import subject; subject.place()"], "interpreter": ["-E"]}, marks=FULL),
    ],
    ids=["odd path", "-m package", "-m module", "-c", "-O -X dev", "-I -O", "-S", "-E"],
)
def test_the_target_is_where_it_is_in_a_plain_run(trial: Trial, backend: str, asked: dict[str, Any]) -> None:
    """argv, sys.path, __main__, __file__, flags, umask, signals, descriptors, workers: equal, but for what memray cannot hide."""
    odd = trial.work / "späce dir ☃"
    odd.mkdir()
    (odd / "pläce ☃.py").write_bytes((trial.work / "subject.py").read_bytes())
    more = {key: value for key, value in asked.items() if key != "words"}
    end = same(trial, backend, *asked["words"], **more)
    assert end.status == 0
    assert b'"argv"' in end.out


@pytest.mark.full
def test_without_home(trial: Trial, backend: str) -> None:
    """A bare environment (a service, a container) is enough."""
    trial.environment = {"HOME": "<unset>", "USER": "<unset>"}
    assert same(trial, backend, "subject.py", "names").names()


@pytest.mark.full
def test_a_working_folder_that_cannot_be_written(trial: Trial, backend: str) -> None:
    """Nothing is written beside the script."""
    before = {path.name for path in trial.work.iterdir()}
    trial.work.chmod(0o555)
    assert same(trial, backend, "subject.py", "names").names()
    assert {path.name for path in trial.work.iterdir()} == before


def test_a_full_disk_is_told(trial: Trial, backend: str, tmp_path: Path) -> None:
    """Where there is no room for the recording, the target does not notice, and the loss is said with its reason."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        (disk / "fill").write_bytes(bytes(44_000))
        end = trial.start(backend, "subject.py", "children", "subprocess", folder=str(disk)).ended()
        assert (end.status, end.out) == (0, b"subprocess 9\n")
        assert end.names() or "full" in end.words(), end.words()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# --- depth, threads, children ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deep", "deepest"])
def test_deep_recursion(trial: Trial, backend: str, how: str) -> None:
    """900 frames deep, and at the interpreter's limit, the target does what it does in a plain run."""
    assert same(trial, backend, "subject.py", how).names()


def test_threads_are_lanes_by_name(trial: Trial, backend: str) -> None:
    """Every thread of `threading` is a lane with its name, or the gap is told."""
    end = same(trial, backend, "subject.py", "threads")
    lanes = {lane["thread"] for lane in end.told["lanes"]}
    named = {"spinner-0", "spinner-1", "spinner-2"} <= lanes and {"spin_0", "spin_1", "spin_2"} <= end.names()
    assert named or admitted(end, "thread"), (lanes, end.words())


@pytest.mark.full
def test_200_threads(trial: Trial, backend: str) -> None:
    """Many threads neither break the target nor the recording."""
    assert same(trial, backend, "subject.py", "threads", "200").names()


@pytest.mark.parametrize(
    "kind", ["spawn", "fork", *(pytest.param(kind, marks=FULL) for kind in ("forkserver", "executor", "subprocess", "os_fork"))]
)
def test_children_are_lanes_of_the_same_profile(trial: Trial, backend: str, kind: str) -> None:
    """Workers of every kind are seen, whole, with the right answer from the target; what is not seen is told."""
    end = same(trial, backend, "subject.py", "children", kind)
    assert f"{kind}_work" in end.names() or admitted(end, "process"), (sorted(end.names()), end.words())
    if f"{kind}_work" in end.names():
        assert len({lane["pid"] for lane in end.told["lanes"]}) > 1
    assert trial.is_empty(), trial.alive()


def test_no_children_records_the_first_process_alone(trial: Trial, backend: str) -> None:
    """`--no-children` leaves the others as they are in a plain run."""
    end = same(trial, backend, "subject.py", "children", "subprocess", options={"children": False})
    assert len({lane["pid"] for lane in end.told["lanes"]}) == 1
    assert "subprocess_work" not in end.names()


@pytest.mark.full
def test_exec_keeps_what_came_before(trial: Trial, backend: str) -> None:
    """A process that replaces itself by another program was recorded until then, or the gap is told."""
    end = same(trial, backend, "subject.py", "execs")
    assert seen(backend) in end.names() or "execs" in end.names() or admitted(end, "process"), end.words()


@pytest.mark.full
def test_same_names_stay_apart(trial: Trial, backend: str) -> None:
    """Two methods of one name and a nested function have their qualified names."""
    end = same(trial, backend, "subject.py", "names")
    if Mode.MEMORY not in registry.backend(backend).capabilities.modes:
        assert {"First.run", "Second.run", "names.<locals>.inner", "names.<locals>.<lambda>"} <= end.names(), sorted(end.names())


# --- other interpreters ---------------------------------------------------------------------------------------------------


@pytest.mark.full
def test_a_virtual_environment_without_proftool(trial: Trial, backend: str, tmp_path: Path) -> None:
    """The target's Python knows nothing of proftool and is shown nothing of its packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    code = "import importlib.util as u, subject, sys; subject.names(); print([u.find_spec(n) for n in ('proftool', 'numpy')], sys.path)"
    end = same(trial, backend, python=python, code=code)
    assert b"[None, None]" in end.out
    assert end.names()


def test_a_users_own_sitecustomize_runs(trial: Trial, backend: str) -> None:
    """It is imported as in a plain run, once, under its own name, in children too."""
    (trial.work / "own").mkdir()
    (trial.work / "own" / "sitecustomize.py").write_text("import os\nMINE = 7\nos.write(2, b'custom %d\\n' % os.getpid())\n")
    trial.environment = {"PYTHONPATH": str(trial.work / "own")}
    plain, end = (trial.run(name, "subject.py", "place") for name in (None, backend))
    assert (end.status, told(end, backend)) == (0, told(plain, backend))
    assert b'"sitecustomize": 7' in end.out
    pids = [line for line in end.err.splitlines() if line.startswith("custom")]
    assert len(set(pids)) == len(pids) >= 2  # once in each process


@pytest.mark.parametrize("call", ["sys.setprofile", "threading.setprofile"])
def test_a_profile_function_of_the_programs_own_is_told(trial: Trial, backend: str, call: str) -> None:
    """Where it takes the profiler's place, the run says what was not recorded; otherwise nothing is missing."""
    if backend == "memray":
        pytest.skip("memray hides its own from the program and from proftool")
    code = f"import subject, sys, threading; subject.busy(0.2); {call}(lambda *_: None); sys.setprofile(None)"
    code += "; t = threading.Thread(target=subject.busy, args=(0.2,)); t.start(); t.join()"
    end = same(trial, backend, code=code)
    assert backend not in ("cprofile", "pyinstrument") or f"`{call}`" in end.words(), end.words()
