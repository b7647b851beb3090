"""What a killed proftool left becomes a run, or is said to be lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.command import Project

from proftool import registry
from proftool.contracts import Mode, Program, RecordOptions
from proftool.launch import clocks, segments
from proftool.launch.start import launch
from proftool.settings import Settings
from proftool.store import open_store
from proftool.workflows import recover
from proftool.workflows.choose import Choice

GROWS = """
import pathlib, time
kept = []
def hold():
    for n in range(200):
        kept.append(bytearray(1 << 16))
        time.sleep(0.05)
        if n == 30: pathlib.Path("ready").touch()
hold()
"""


def killed(project: Project, backend: str) -> None:
    """Record the program and kill proftool in the middle."""
    command = [sys.executable, "-m", "proftool", "run", "--backend", backend, "--label", backend, "--", "grows.py"]
    process = subprocess.Popen(command, cwd=project.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not (project.root / "ready").exists() and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (project.root / "ready").unlink()


def test_doctor_recovers_what_was_written_and_says_what_was_not(tmp_path: Path) -> None:
    """memray writes while the program runs; pyinstrument keeps its samples in the program, which died with proftool."""
    project = Project(tmp_path)
    project.write("grows.py", GROWS)
    for backend in ("memray", "pyinstrument"):
        killed(project, backend)
    done = project.proftool("doctor", "--repair")
    assert "recovered as run" in done.out
    assert "nothing of it is usable" in done.out
    (run,) = project.proftool("list", "--json").json["runs"]
    assert (run["label"], run["backends"], run["exit_status"]) == ("memray", ["memray"], None)
    shown = project.proftool("show", "memray", "--json").json
    assert any(function["name"] == "hold" for function in shown["functions"])
    assert any("killed" in note for note in shown["run"]["quality"]["reasons"]) or run["quality"]["verdict"] != "good"
    assert not any((tmp_path / ".proftool" / "recordings").glob("*/"))


def test_finished_segments_are_recovered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long py-spy recording only the last segment is lost."""
    monkeypatch.setattr(segments, "SEGMENT_S", 1.0)
    store = open_store(Settings(store=str(tmp_path / "runs")))
    folder = store.recordings_folder()
    second = str(folder / "segment-1" / clocks.FILE)
    backend = registry.backend("py-spy")
    options = RecordOptions(mode=Mode.SAMPLE, overhead_budget=1.0)
    # It goes on until a second segment is being recorded, however long a busy machine takes to attach.
    code = f"import os, time\nend = time.time() + 120\nwhile time.time() < end and not os.path.exists({second!r}): sum(range(99))"
    program = Program(python=Path(sys.executable), code=code)
    recover.note(folder, program, Choice(backend=backend, options=options, version="0"), "long")
    recording = launch(program, backend.command(program, options, folder), options, folder)
    (recording.segments[-1].folder / "part.speedscope.json").unlink(missing_ok=True)  # the program may end before its first sample
    run = recover.recover(folder, store)
    assert run.label == "long"
    assert run.totals["wall_time"] > 0.5e9
    assert any("killed" in note for one in store.load(run).meta.passes for note in one.notes)
