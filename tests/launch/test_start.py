"""What keeps a target from being started is said, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import cast

import pytest

from proftool.backends import cprofile, pyspy
from proftool.contracts import Backend, Mode, Program, RecordOptions
from proftool.errors import BackendFailed, BackendUnavailable, TargetError
from proftool.launch import inject, start
from proftool.launch.start import launch


def test_an_interpreter_that_cannot_be_started_costs_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate that it would have waited at is closed on both sides."""
    program, options = Program(python=Path(sys.executable), code="1"), RecordOptions(mode=Mode.SAMPLE)
    monkeypatch.setattr(start.hook, "argv", lambda *_: [str(tmp_path / "absent")])
    before = len(os.listdir("/proc/self/fd"))
    for n in range(3):
        folder = tmp_path / str(n)
        folder.mkdir()
        with pytest.raises(TargetError):
            launch(program, pyspy.backend.command(program, options, folder), options, folder)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(("module", "name"), [(signal, "sigtimedwait"), (os, "waitid"), (os, "wait4")])
def test_other_systems_are_refused_and_not_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> None:
    """Status 3, with what is missing and what works there."""
    program, options = Program(python=Path(sys.executable), code="1"), RecordOptions(mode=Mode.TRACE)
    backend: Backend = cprofile.backend
    command = backend.command(program, options, tmp_path)
    monkeypatch.delattr(module, name)
    with pytest.raises(BackendUnavailable) as caught:
        launch(program, command, options, tmp_path)
    assert name in caught.value.cause
    assert "Linux" in caught.value.what
    assert not list(tmp_path.iterdir())


def test_a_recorder_that_says_nothing_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both connections stand and are silent: it did not start, and that is what is said."""
    monkeypatch.setattr(inject, "_ANSWER_S", 0.05)
    monkeypatch.setattr(inject, "_LAST_WORDS_S", 0.05)
    channel, far = socket.socketpair()
    control, other = socket.socketpair()

    class Silent:
        _pid, _control = os.getpid(), control
        _line = inject.Injected._line

    with channel, far, control, other, pytest.raises(BackendFailed) as caught:
        inject.Injected._await_start(cast(inject.Injected, Silent()), "token", channel)
    assert "it said nothing" in caught.value.cause
