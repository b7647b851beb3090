"""py-spy's file: speedscope's format as far as it is read, every stack once and the samples of a thread as numbers of stacks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec

from proftool.model.profile import UNKNOWN

_THREAD = re.compile(r'(?:Process (\d+) )?Thread (\d+|0x[0-9a-f]+) "(.*)"', re.DOTALL)
_LABEL = re.compile(r'(?:process \d+:".*"|thread \(\d+\)(?:: .*)?)', re.DOTALL)
"""Frames that py-spy puts below a stack to say whose it is; here these are lanes."""


class Frame(msgspec.Struct):
    """A frame of a stack."""

    name: str
    file: str | None = None
    line: int | None = None


class _Shared(msgspec.Struct):
    frames: list[Frame]


class _Thread(msgspec.Struct):
    name: str
    samples: list[msgspec.Raw]
    """Each a list of frame numbers, as text: most repeat, and lists of numbers would take ten times the room."""
    weights: list[float]


class _File(msgspec.Struct):
    shared: _Shared
    profiles: list[_Thread]


@dataclass(frozen=True)
class Thread:
    """The samples of a thread, in their order."""

    stacks: list[int]
    """The number of each sample's stack, -1 where it has no frame of the program's."""
    pid: int
    tid: int
    name: str

    @cached_property
    def kept(self) -> list[int]:
        """Those with a frame of the program's."""
        return [stack for stack in self.stacks if stack >= 0]


@dataclass(frozen=True, slots=True)
class File:
    """What the file holds."""

    frames: list[Frame]
    stacks: list[tuple[int, ...]]
    """Numbers of frames, outermost first."""
    threads: list[Thread]


def read_file(data: bytes, first_pid: int) -> File:
    """
    What py-spy wrote; its threads name no process where there is only the first.

    Raises:
        msgspec.MsgspecError: it is no such file, or cut short.
    """
    told = msgspec.json.decode(data, type=_File)
    frames = told.shared.frames
    labels = {at for at, frame in enumerate(frames) if not frame.file and _LABEL.fullmatch(frame.name)}
    hidden = {at for at, frame in enumerate(frames) if _is_bootstrap(frame)}
    stacks: dict[tuple[int, ...], int] = {}
    numbers: dict[bytes, int] = {}

    def numbered(samples: Sequence[msgspec.Raw]) -> list[int]:
        found: list[int] = []
        for raw in samples:
            text = bytes(raw)
            number = numbers.get(text)
            if number is None:
                stack = tuple(frame for frame in msgspec.json.decode(text, type=tuple[int, ...]) if frame not in labels)
                number = numbers[text] = -1 if not stack or hidden.intersection(stack) else stacks.setdefault(stack, len(stacks))
            found.append(number)
        return found

    threads: dict[tuple[int, int], Thread] = {}
    while told.profiles:  # each is let go of as soon as it is read: a long recording's samples are hundreds of MB of text
        thread = told.profiles.pop(0)
        one = Thread(numbered(thread.samples), *_named(thread.name, first_pid))
        key = (one.pid, one.tid if one.tid != UNKNOWN else -2 - len(threads))
        threads[key] = _joined(threads[key], one) if key in threads else one
    return File(frames, list(stacks), list(threads.values()))


def _joined(one: Thread, other: Thread) -> Thread:
    """A thread that py-spy wrote twice: until it had found its name, and from then on."""
    early, late = (one, other) if not one.name else (other, one)
    return Thread(early.stacks + late.stacks, one.pid, one.tid, late.name)


def _named(text: str, first_pid: int) -> tuple[int, int, str]:
    """(pid, tid, thread name) of a thread's title: `Process 7 Thread 9 "worker"`, the process only where there are several."""
    found = _THREAD.search(text)
    if not found:
        return first_pid, UNKNOWN, text
    return int(found[1] or first_pid), int(found[2], 0), found[3]


def _is_bootstrap(frame: Frame) -> bool:
    file = frame.file or ""
    own = ("/launch/_child.py", "/launch/_blind.py", "/launch/_collector.py")
    return file.endswith(own) or (file.endswith("/sitecustomize.py") and "/hook/" in file)
