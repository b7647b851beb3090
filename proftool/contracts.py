"""The extension points: targets, backends, formats, rules, reports. The stores are in contracts_store and contracts_telemetry.

> A backend turns a target into a command; a format turns that command's file into one `Profile`; a report turns a `Profile` into bytes.

Protocols only, and frozen data. An implementation is one new file and one row in registry.py (or an entry point of the groups
`proftool.backends`, `…formats`, `…reports`, `…rules`). Each protocol has a contract suite in tests/contracts/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from proftool.model.insight import Insight
from proftool.model.meta import Collector

if TYPE_CHECKING:
    from proftool.model.profile import Profile  # numpy, which `list` and `--help` do without


class Mode(StrEnum):
    """What kind of question a recording answers."""

    SAMPLE = "sample"
    TRACE = "trace"
    MEMORY = "memory"


class Clock(StrEnum):
    """What a sample's time means."""

    WALL = "wall"
    CPU = "cpu"


# --- targets --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A Python program, taken apart: `python [interpreter_options] (script | -m module | -c code) argv…`.

    Exactly one of script, module and code is set.
    """

    python: Path
    interpreter_options: tuple[str, ...] = ()
    """Options of the interpreter itself, as typed: `-X dev`, `-O`."""
    script: str | None = None
    module: str | None = None
    code: str | None = None
    argv: tuple[str, ...] = ()
    typed: tuple[str, ...] = ()
    """The command as the user typed it, for the run's record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A running process, and where it stands; None = not known."""

    pid: int
    argv: tuple[str, ...] = ()
    cwd: Path | None = None
    root: Path = Path("/")
    """Prefix of every path of its, where it lives in a file system of its own (`/proc/PID/root`)."""


Target = Program | Process


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """What is known of the Python that will run, or runs, the target."""

    executable: Path
    version: tuple[int, int, int]
    implementation: str = "CPython"
    free_threaded: bool = False
    site_packages: tuple[Path, ...] = ()


# --- backends -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """What the user asked of a recording; None = the backend's own default. Each is meaningful to more than one backend."""

    mode: Mode
    clock: Clock = Clock.WALL
    rate_hz: float | None = None
    native: bool = False
    children: bool = True
    duration_ns: int | None = None
    """Stop after this long; None follows the target to its end."""
    overhead_budget: float = 0.02  # share of the time that sampling may keep the target from running before it slows down


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend can do at all; an option outside of it is refused, never ignored."""

    modes: frozenset[Mode]
    clocks: frozenset[Clock] = frozenset({Clock.WALL})
    run: bool = True
    attach: bool = False
    rate: bool = False
    native: bool = False
    children: bool = False
    threads: bool = False
    tasks: bool = False
    stacks: bool = True
    """False: records caller-callee pairs only."""
    so_far: bool = False
    """Writes what it has seen so far while the target runs and somebody looks."""
    in_process: bool = False
    """Runs inside the target, so it must be importable by the target's interpreter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """The backend can run here."""

    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """It cannot, and why, and what would help. `exit_code` is 3 (not available) or 4 (permission)."""

    cause: str
    fix: str
    exit_code: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """A profiler that the bootstrap starts inside the target through its own API; `library_paths` are appended for its import alone.

    `recorder` is a standard-library-only file that is loaded by path in the target; backends/inside/ says what it has.
    """

    recorder: Path
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict[str, str | int | float | bool])
    library_paths: tuple[Path, ...] = ()
    reader: str = ""
    """Module that `Backend.read` will import; loaded while the target runs, and not before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """A profiler of its own process, attached by PID at the gate; `{pid}`, `{rate}` and `{folder}` (a segment's) in argv are replaced."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    rate_hz: float = 0.0
    condense: str = ""
    """`module:function(recording so far, segment)` that makes a finished segment smaller; empty: it is kept as it is."""
    ready: str = ""
    """Text on the profiler's stderr or stdout that says that it is attached; empty: the launcher asks `Backend.is_ready`."""
    reader: str = ""


Command = Inside | Outside


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """What the bootstrap wrote of one process of the target; unknown is None."""

    pid: int
    ppid: int | None = None
    name: str = ""
    """Name for people: `main`, `SpawnPoolWorker-1`, `worker.py`."""
    argv: tuple[str, ...] = ()
    started_ns: int | None = None
    ended_ns: int | None = None
    python: str | None = None
    thread_names: Mapping[int, str] = field(default_factory=dict[int, str])
    """Native thread id -> name."""
    main_tid: int | None = None
    parts: tuple[Path, ...] = ()
    """The profiler's files of this process, in order of time."""
    complete: bool = False
    """Did it end in order, its last part written?"""
    exit_reason: str = ""
    notes: tuple[str, ...] = ()
    collector: Collector | None = None
    """What the garbage collector took of it; None where nobody looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of a recording by one external profiler; `begun_ns` since the recording's start, `rate_hz` as asked for."""

    folder: Path
    begun_ns: int
    duration_ns: int
    rate_hz: float
    overhead_ns: int | None = None
    """So long the target is known to have been kept from running; None where nobody looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a launch left: a folder of raw parts, and how the target ended."""

    folder: Path
    target: Target
    options: RecordOptions
    processes: tuple[ProcessRecord, ...]
    exit_status: int | None
    """As a shell sees it; None for a process that was attached to and lives on."""
    started_ns: int
    duration_ns: int
    cpu_ns: int | None
    profiler_stderr: str = ""
    """The last 64 KiB of the profiler's own chatter: evidence for an error, never parsed for a result."""
    interrupted: bool = False
    interpreter: Interpreter | None = None
    segments: tuple[Segment, ...] = ()  # in order of time, the first in `folder` itself; all but the last may be condensed
    notes: tuple[str, ...] = ()


class Backend(Protocol):
    """One profiler.

    `command` is pure: no process is started, the profiler is not imported, files are only named. `read` makes the profile
    of a recording; it raises BackendFailed where nothing usable was recorded and says what is missing in the pass's notes.
    """

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str:
        """One line for `doctor` and the docs: which question it answers."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    def availability(self, interpreter: Interpreter | None = None) -> Available | Unavailable:
        """Can it record here, in that interpreter? Never raises, never starts a process of the target's."""
        ...

    def command(self, target: Target, options: RecordOptions, folder: Path) -> Command:
        """How to record into `folder`."""
        ...

    def read(self, recording: Recording) -> Profile:
        """The recording's parts as one profile, a lane for each thread of each process, with `meta.passes` of one pass."""
        ...


@runtime_checkable
class AttachingBackend(Backend, Protocol):
    """A backend that can record a running process."""

    def preflight(self, process: Process) -> Available | Unavailable:
        """May and can it attach to that process? Touches nothing."""
        ...


# --- formats --------------------------------------------------------------------------------------------------------------


class Format(Protocol):
    """One on-disk format, recognised by content."""

    @property
    def name(self) -> str: ...

    @property
    def suffixes(self) -> tuple[str, ...]: ...

    def matches(self, head: bytes) -> bool:
        """Do the first 4096 bytes look like this format?"""
        ...

    def read(self, path: Path) -> Profile:
        """The file as a checked profile; raises CorruptProfile, NewerVersion or LimitExceeded, nothing else."""
        ...


@runtime_checkable
class WritableFormat(Format, Protocol):
    """A format that proftool also writes."""

    def write(self, profile: Profile) -> bytes:
        """The profile as the content of a file."""
        ...

    def lost(self, profile: Profile) -> tuple[str, ...]:
        """What of this profile the format cannot hold, one sentence each; empty where nothing is lost."""
        ...


# --- advice and reports ---------------------------------------------------------------------------------------------------


class Rule(Protocol):
    """One cause of slowness or waste, known well enough to be named from a profile alone."""

    @property
    def id(self) -> str: ...

    def look(self, profile: Profile) -> Sequence[Insight]:
        """What is found, largest share first; nothing where the profile lacks what the rule needs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What more than one report understands."""

    metric: str | None = None
    width: int = 100
    color: bool = False
    limit: int = 12
    max_bytes: int = 10_000_000
    """Bound of an HTML page; more is folded into `(n others)`."""
    title: str | None = None
    """Of an HTML page; None: what was run."""
    editor: str | None = None
    """URL of a source line that an HTML page opens, with {path} and {line}."""
    insights: tuple[Insight, ...] = ()


class Report(Protocol):
    """One view: a profile in, bytes out. Workflows write them, the command line prints them."""

    @property
    def name(self) -> str: ...

    @property
    def suffix(self) -> str: ...

    def render(self, profile: Profile, options: ReportOptions) -> bytes: ...
