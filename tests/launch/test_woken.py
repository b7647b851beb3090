"""A recorded process that slept over its SIGTERM is sent another; nobody else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from launch.trial import Trial

from proftool.launch import woken


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def owe(folder: Path, pid: int, *, born_s: float, age_s: float) -> Path:
    debt = folder / f"debt-{pid}"
    debt.write_text(f"{born_s}\n")
    woken.tell(folder, pid)
    os.utime(debt, (time.time() - age_s,) * 2)
    return debt


def test_a_process_that_slept_over_its_signal_gets_it_again(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """Told a while ago, still owing: woken."""
    owe(tmp_path, sleeper.pid, born_s=time.time(), age_s=1)
    woken.wake(tmp_path)
    assert sleeper.wait(120) == -signal.SIGTERM


@pytest.mark.parametrize("why", ["not told", "just told", "another has its PID"])
def test_a_process_that_owes_nothing_is_left_alone(tmp_path: Path, sleeper: subprocess.Popen[bytes], why: str) -> None:
    """One that nobody sent SIGTERM, one that may still be about to act, and a stranger that was given the PID."""
    if why == "not told":
        (tmp_path / f"debt-{sleeper.pid}").write_text(f"{time.time()}\n")
        os.utime(tmp_path / f"debt-{sleeper.pid}", (time.time() - 9,) * 2)
    else:
        owe(tmp_path, sleeper.pid, born_s=time.time() - (60 if why == "another has its PID" else 0), age_s=0 if why == "just told" else 9)
    woken.wake(tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(0.3)


def test_telling_of_a_process_without_a_debt_makes_none(tmp_path: Path) -> None:
    """A program that handles SIGTERM itself gets its signal once."""
    woken.tell(tmp_path, 1)
    assert not list(tmp_path.iterdir())


_CODE = """
import glob, os, signal, time
def debts(): return len(glob.glob(os.environ["RESULTS"] + "/*/debt-*"))
seen = [debts()]
signal.signal(signal.SIGTERM, lambda *_: None)
seen.append(debts())
signal.signal(signal.SIGTERM, signal.SIG_DFL)
seen.append(debts())
child = os.fork()
if not child:
    time.sleep(60)
while debts() < 2:
    time.sleep(0.01)
os.kill(child, signal.SIGTERM)
status = os.waitpid(child, 0)[1]
print(*seen, debts(), os.WTERMSIG(status))
"""


def test_a_process_owes_while_the_default_action_stands_and_pays_when_it_saves(tmp_path: Path) -> None:
    """The target's own handler ends the debt, the default action brings it back, and a worker that saved has none."""
    trial = Trial(tmp_path)
    trial.environment["RESULTS"] = str(tmp_path / "results")
    end = trial.run("cprofile", code=_CODE, folder=str(tmp_path / "results"))
    assert end.out.split() == [b"1", b"0", b"1", b"1", b"15"], end.err
    assert not list((tmp_path / "results").glob("*/debt-*"))
