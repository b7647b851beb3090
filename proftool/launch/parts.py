"""What the processes of a recording left in its folder."""

from __future__ import annotations

import shutil
import signal
import time
from ast import literal_eval
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from proftool.contracts import ProcessRecord
from proftool.model.meta import Collector

_FULL_BYTES = 1 << 20
"""A disk with less left than this is taken for the reason why a part is missing."""
_LATE_S = 5.0
"""How long a child that is writing its part when the target ends is waited for."""


SO_FAR = ".so-far"
"""Behind a part's name: what a recorder has written of it while the process runs."""


def collect(folder: Path, first_pid: int, *, recorded: bool, status: int | None, so_far: bool = False) -> tuple[ProcessRecord, ...]:
    """The processes of a recording, the target's first process first, then by start.

    With `recorded`, each is expected to have a part; what is missing is told in its notes. With `so_far` the recording is under way:
    what has been written of a part stands for it.
    """
    if not so_far:
        _await_writers(folder)
    found: list[ProcessRecord] = []
    for file in folder.glob("process-*-*"):
        if not file.name.endswith(".new"):
            record = _read(folder, file, first_pid, recorded=recorded, status=status, so_far=so_far)
            if record is not None:
                found.append(record)
    return tuple(sorted(found, key=lambda record: (record.pid != first_pid, record.started_ns or 0)))


def failures(folder: Path) -> tuple[str, ...]:
    """What the hook could not do at all."""
    try:
        return tuple(f"a process could not be recorded: {line}" for line in (folder / "failure").read_text(errors="replace").splitlines())
    except OSError:
        return ()


def state(pid: int) -> str:
    """The kernel's letter for a process (`R`, `S`, `T`, `Z`), empty where it is gone or unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _await_writers(folder: Path) -> None:
    """A child that is at its end while the target ends has begun its part as `….new`: a moment's patience keeps it."""
    end = time.monotonic() + _LATE_S
    while time.monotonic() < end:
        writing = [file for file in folder.glob("*.new") if state(int(file.name.split("-")[1])) not in ("", "Z")]
        if not writing:
            return
        time.sleep(0.01)


def _read(folder: Path, file: Path, first_pid: int, *, recorded: bool, status: int | None, so_far: bool) -> ProcessRecord | None:
    try:
        told: Mapping[str, object] = literal_eval(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        told = {}
    pid = int(file.name.split("-")[1])
    part = folder / str(told.get("part") or "absent")
    if so_far and not part.is_file():
        part = part.with_name(part.name + SO_FAR)
    parts = (part,) if recorded and part.is_file() else ()
    complete, notes = bool(told.get("complete")), list(_texts(told.get("notes")))
    if recorded and not parts and not so_far:
        complete = False
        notes.append(_loss(folder, pid, str(told.get("name") or ""), first_pid, status, ended=told.get("ended_ns") is not None))
    names = told.get("thread_names")
    return ProcessRecord(
        pid=pid,
        ppid=_number(told.get("ppid")),
        name=str(told.get("name") or ""),
        argv=_texts(told.get("argv")),
        started_ns=_number(told.get("started_ns")),
        ended_ns=_number(told.get("ended_ns")),
        python=str(told["python"]) if told.get("python") else None,
        thread_names={int(tid): str(name) for tid, name in names.items()} if isinstance(names, dict) else {},  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        main_tid=_number(told.get("main_tid")),
        parts=parts,
        complete=complete,
        exit_reason=str(told.get("exit_reason") or ""),
        notes=tuple(notes),
        collector=_collector(told.get("collector")),
    )


def _loss(folder: Path, pid: int, name: str, first_pid: int, status: int | None, *, ended: bool) -> str:
    who = f"process {pid}" + (f" ({name})" if name else "")
    if not ended and state(pid) not in ("", "Z"):
        return f"{who} was still running when the target ended, so its recording was not saved"
    if pid == first_pid and status is not None and status > 128 and not ended:
        number = status - 128
        known = {int(member): member.name for member in signal.Signals}
        return f"the recording of {who} was lost: {known.get(number, f'signal {number}')} ended it before it could be saved"
    if not ended and is_full(folder):
        return f"the recording of {who} was lost: the disk of {folder.parent} is full"
    if not ended:
        return f"the recording of {who} was lost: it was killed or crashed before it could be saved"
    return f"the recording of {who} was lost: its file is missing"


def is_full(folder: Path) -> bool:
    """Has the disk of that folder no room left?"""
    try:
        return shutil.disk_usage(folder).free < _FULL_BYTES
    except OSError:
        return False


def _collector(told: object) -> Collector | None:
    match told:
        case {"cpu_ns": int(cpu_ns), "runs": [int(young), int(middle), int(old)]}:
            lines = cast("dict[str, list[object]]", told).get("lines", [])
            dearest = tuple(line for one in lines if (line := _line(one)) is not None)
            return Collector(cpu_ns=cpu_ns, runs=(young, middle, old), lines=dearest)
        case _:
            return None


def _line(told: object) -> tuple[str, int, str, int, int] | None:
    match told:
        case (str(file), int(line), str(name), int(cpu_ns), int(runs)):
            return file, line, name, cpu_ns, runs
        case _:
            return None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, (list, tuple)) else ()  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
