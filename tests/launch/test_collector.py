"""What the garbage collector took is known exactly, of every process, by line, and the target does not notice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proftool.model.meta import Collector
from proftool.store.names import read_file

PROGRAM = """
import gc, os, sys
before = [dict(generation) for generation in gc.get_stats()]
def load():
    return [{"id": n, "tags": [n], "next": (n, [])} for n in range(60_000)]
for _ in range(8):
    kept = load()
if "fork" in sys.argv and os.fork() == 0:
    for _ in range(8):
        kept = load()
    sys.exit()
if "fork" in sys.argv:
    os.wait()
gc.disable()
print(sum(now["collections"] - then["collections"] for now, then in zip(gc.get_stats(), before)))
"""


def recorded(tmp_path: Path, *words: str, mode: str = "sample", backend: str = "py-spy") -> tuple[Collector | None, str]:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "prog.py").write_text(PROGRAM)
    asked = ["run", "-q", "--mode", mode, *(["--backend", backend] if mode == "sample" else []), "-o", "run.proftool", "prog.py", *words]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PROFTOOL")}
    done = subprocess.run([sys.executable, "-m", "proftool", *asked], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return read_file(tmp_path / "run.proftool").meta.passes[0].collector, done.stdout


@pytest.mark.parametrize("backend", ["py-spy", "pyinstrument"])
def test_every_collection_is_counted_and_charged_to_its_line(tmp_path: Path, backend: str) -> None:
    """As many as Python's own statistics say, and nearly all of the time at the line that makes the objects."""
    found, out = recorded(tmp_path, backend=backend)
    assert found
    n = int(out)
    assert n <= sum(found.runs) <= n + 50  # those of the start-up and of the end
    file, line, name, spent_ns, _ = found.lines[0]
    assert (file, line, name) == ("prog.py", 5, "<listcomp>" if sys.version_info < (3, 12) else "load")
    assert spent_ns > 0.8 * found.cpu_ns


def test_a_forked_child_counts_its_own(tmp_path: Path) -> None:
    """Twice the work in two processes is twice the collections, not three times."""
    found, out = recorded(tmp_path, "fork")
    assert found
    assert 1.5 * int(out) <= sum(found.runs) <= 2.5 * int(out)


@pytest.mark.parametrize("mode", ["trace", "memory"])
def test_tracers_are_not_asked(tmp_path: Path, mode: str) -> None:
    """What a tracer costs inside of a collection would be told as the collector's."""
    assert recorded(tmp_path, mode=mode)[0] is None
