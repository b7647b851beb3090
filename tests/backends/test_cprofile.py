"""cProfile's totals are the ones that pstats prints; calls are exact; threads are apart."""

from __future__ import annotations

import marshal
import pstats
import sys
from pathlib import Path

import pytest

from proftool.backends.cprofile import backend
from proftool.contracts import Mode, Program, Recording, RecordOptions
from proftool.errors import BackendFailed, BackendUnavailable
from proftool.launch.start import launch
from proftool.model.check import checked
from proftool.model.profile import CALLS, ROOT, Profile

OPTIONS = RecordOptions(mode=Mode.TRACE)
PROGRAM = """
def leaf(n): return n * n
def down(n): return down(n - 1) if n else leaf(2)
def main():
    for n in range(1000): leaf(n)
    down(50)
main()
"""


def record(folder: Path, code: str) -> Recording:
    program = Program(python=Path(sys.executable), code=code)
    return launch(program, backend.command(program, OPTIONS, folder), OPTIONS, folder)


def function_total(profile: Profile, name: str, metric: str) -> int:
    cells, index = profile.cells, profile.metric_index(metric)
    functions = profile.frames.function[profile.nodes.frame[cells.node]]
    rows = [profile.text(int(profile.functions.qualname[f])) == name for f in functions]
    return int(cells.value[(cells.metric == index) & rows].sum())


def test_totals_are_those_of_pstats(tmp_path: Path) -> None:
    """The same statistics given to pstats have the same self time and as many calls, primitive calls too."""
    recording = record(tmp_path, PROGRAM)
    profile = checked(backend.read(recording))
    _, threads = marshal.loads(recording.processes[0].parts[0].read_bytes())
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, dict[object, object]]] = {}
    for _, _, entries in threads:
        for (file, line, qualname, name), calls, recursive, total_ns, self_ns, _callees in entries:
            key = (file or "~", line, qualname + name)
            cc, nc, tt, ct, callers = stats.get(key, (0, 0, 0.0, 0.0, {}))
            stats[key] = (cc + calls - recursive, nc + calls, tt + self_ns / 1e9, ct + total_ns / 1e9, callers)
    file = tmp_path / "as.prof"
    file.write_bytes(marshal.dumps(stats))
    theirs = pstats.Stats(str(file))
    ours = {
        metric: int(profile.cells.value[profile.cells.metric == profile.metric_index(metric)].sum()) for metric in ("wall_time", "calls")
    }
    assert ours["wall_time"] == pytest.approx(theirs.total_tt * 1e9, abs=len(stats))  # pstats adds up floats
    assert ours["calls"] == theirs.total_calls
    own = profile.edges.caller == ROOT
    assert int(profile.edges.primitive_calls[own].sum()) == theirs.prim_calls


def test_calls_are_exact(tmp_path: Path) -> None:
    """1001 calls of one function, 51 nested ones of another of which one is primitive."""
    profile = checked(backend.read(record(tmp_path, PROGRAM)))
    assert function_total(profile, "leaf", CALLS.name) == 1001
    assert function_total(profile, "down", CALLS.name) == 51
    edges = profile.edges
    down = [profile.text(int(profile.functions.qualname[f])) == "down" for f in edges.callee]
    row = (edges.caller == ROOT) & down
    assert edges.primitive_calls[row].tolist() == [1]


def test_nothing_recorded_is_an_error(tmp_path: Path) -> None:
    """A target that was killed leaves no profile, and the error says why."""
    with pytest.raises(BackendFailed, match="recorded nothing") as caught:
        backend.read(record(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
    assert "SIGKILL" in caught.value.cause


@pytest.mark.parametrize("options", [{"rate_hz": 100.0}, {"native": True}, {"duration_ns": 10**9}], ids=["rate", "native", "duration"])
def test_options_that_it_cannot_keep_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    """Never ignored."""
    program = Program(python=Path(sys.executable), code="")
    with pytest.raises(BackendUnavailable):
        backend.command(program, RecordOptions(mode=Mode.TRACE, **options), tmp_path)  # type: ignore[arg-type]


def test_no_call_of_the_recordings_own_is_counted(tmp_path: Path) -> None:
    """Neither of those by which it ends: what is called twice by the program was called twice, and the rest is not there."""
    profile = checked(backend.read(record(tmp_path, "import os\nos.getpid()\nos.getpid()\nprint(end='')\n")))
    assert function_total(profile, "getpid", "calls") == 2
    names = {profile.text(int(name)) for name in profile.functions.qualname}
    assert not names & {"unlink", "getprofile", "get_native_id", "Profiler.disable", "setprofile"}
