"""The probe of the machine's speed reads what the system tells and never fails."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proftool.launch import speed


def test_probe_before_and_after() -> None:
    """Both probes are times of the same work; shares lie between nothing and everything."""
    told = speed.start().finish()
    assert told.before_ns is not None
    assert told.after_ns is not None
    assert told.before_ns > 0
    assert 0.02 < told.after_ns / told.before_ns < 50  # the same work within any machine's moods
    assert told.steal_share is None or 0 <= told.steal_share <= 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not say on which processor a process is")
def test_a_witness_measures_beside_a_process_that_runs() -> None:
    """Parts of the same work, and only while the process is seen to run; when it ends, so does the witness."""
    allowed = os.sched_getaffinity(0)
    program = "import time\nend = time.process_time() + 1.0\nwhile time.process_time() < end: pass"
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        witness = speed.Witness(process.pid)
        process.wait()
    told = speed.start().finish(witness)
    assert told.during_ns is not None
    assert told.before_ns is not None
    assert 0.02 < told.during_ns / told.before_ns < 50
    assert os.sched_getaffinity(0) == allowed


def test_a_process_that_sleeps_tells_nothing_of_its_processor() -> None:
    """It is not seen to run, and no time is taken from it."""
    program = "print('stands', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        time.sleep(0.1)
        witness = speed.Witness(process.pid)
        time.sleep(0.6)
        assert witness.end() is None
        process.communicate(b"\n")


def test_throttling_is_read_from_the_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 2 counts microseconds, version 1 nanoseconds."""
    file = tmp_path / "cpu.stat"
    monkeypatch.setattr(speed, "_CGROUPS", (file,))
    for text in ("usage_usec 5\nthrottled_usec 1000\n", "nr_periods 5\nthrottled_time 1000000\n"):
        file.write_text(text)
        before = speed.start()
        file.write_text(text.replace("1000", "3000", 1))
        assert before.finish().throttled_ns == 2_000_000


def test_a_system_that_tells_nothing_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No control group: None, not zero."""
    monkeypatch.setattr(speed, "_CGROUPS", (tmp_path / "none",))
    assert speed.start().finish().throttled_ns is None


def test_half_of_the_time_at_half_the_speed_is_three_quarters_of_the_work() -> None:
    """A computation then takes four thirds, and not one and a half times as long as on the fast machine."""
    fast = speed.whole_ns([100_000] * 16)
    assert fast is not None
    assert speed.whole_ns([100_000, 200_000] * 8) == pytest.approx(fast * 4 / 3, rel=1e-6)
    assert speed.whole_ns([100_000] * 7) is None
