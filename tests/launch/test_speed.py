"""The probe of the machine's speed reads what the system tells and never fails."""

from __future__ import annotations

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
