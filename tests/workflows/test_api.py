"""`import proftool`: a block, a function and a coroutine recorded in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """
import asyncio, json, proftool
def busy(n=400_000):
    return sum(i * i for i in range(n))
def names(profile):
    return sorted({profile.text(int(i)) for i in profile.functions.qualname})
"""


def run(folder: Path, code: str) -> object:
    """A program that uses the API, in a process of its own; what it printed last, as JSON."""
    (folder / "pyproject.toml").write_text("")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PROFTOOL")}
    (folder / "app.py").write_text(HEAD + code)
    done = subprocess.run([sys.executable, "app.py"], cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("mode", ["sample", "trace", "memory"])
def test_a_block_is_a_run_of_that_mode(tmp_path: Path, mode: str) -> None:
    """The run is stored under its label, and holds what ran in the block."""
    code = f"with proftool.profile(mode={mode!r}, label='block') as p:\n    kept = [bytearray(10_000) for _ in range(200)]; busy()\n"
    told = run(tmp_path, code + "print(json.dumps([p.run.label, list(p.run.modes), names(proftool.load('block'))]))\n")
    assert isinstance(told, list)
    assert told[:2] == ["block", [mode]]
    assert mode == "memory" or any("busy" in name for name in told[2])


def test_a_function_is_recorded_at_each_call_and_returns_what_it_returns(tmp_path: Path) -> None:
    """Two calls are two runs; name and docstring are the function's."""
    code = "@proftool.profile(mode='trace', label='calls')\ndef work(n):\n    'Doc.'\n    busy(); return n + 1\n"
    code += "answers = [work(1), work(2)]\n"
    code += "from proftool.store import open_store; from proftool import settings; from proftool.contracts_store import RunQuery\n"
    code += "print(json.dumps([answers, work.__name__, work.__doc__, len(open_store(settings.load()).find(RunQuery(label='calls')))]))\n"
    assert run(tmp_path, code) == [[2, 3], "work", "Doc.", 2]


def test_a_coroutine_is_recorded_until_it_returns(tmp_path: Path) -> None:
    """What it awaits is part of the run."""
    code = "p = proftool.profile(mode='trace')\n@p\nasync def work():\n    await asyncio.sleep(0.01); busy(); return 5\n"
    told = run(tmp_path, code + "print(json.dumps([asyncio.run(work()), names(p.profile)]))\n")
    assert isinstance(told, list)
    assert told[0] == 5
    assert {"busy", "work"} <= set(told[1])


def test_what_the_block_raises_is_raised_and_the_run_is_kept(tmp_path: Path) -> None:
    """The recording ends, the error is the block's own."""
    code = "try:\n    with proftool.profile(mode='trace') as p:\n        busy(); raise KeyError('mine')\nexcept KeyError as error:\n"
    assert run(tmp_path, code + "    print(json.dumps([str(error), p.run is not None]))\n") == ["'mine'", True]


def test_two_at_a_time_and_an_unknown_mode_are_refused(tmp_path: Path) -> None:
    """The second is a UsageError, and the first goes on; after it another can begin."""
    code = (
        "from proftool.errors import UsageError\ntold = []\n"
        "with proftool.profile(mode='trace'):\n    busy()\n    try:\n        proftool.profile(mode='trace').__enter__()\n"
        "    except UsageError as error:\n        told.append(error.what)\n"
        "with proftool.profile(mode='trace') as p:\n    busy()\n"
        "try:\n    proftool.profile(mode='guess')\nexcept UsageError as error:\n    told.append(error.what)\n"
        "print(json.dumps([told, p.run is not None]))\n"
    )
    assert run(tmp_path, code) == [["a recording is under way in this process", "no mode `guess`"], True]
