"""The circumstances of a recording and how far it can be trusted; unknown is None, never a guess.

A run may hold several *passes* (one a mode: sample, trace, memory); each keeps its own backend, clock, rate, overhead and
exit status. All times are integers in ns; `started_ns` is since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """The state of the checkout the target ran from."""

    commit: str
    branch: str | None = None
    dirty: bool | None = None
    root: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast the machine was: a short calibrated probe before, during and after the recording, and what disturbed it."""

    before_ns: int | None = None
    """Thread CPU time of the fixed probe before the target started; larger is slower."""
    after_ns: int | None = None
    during_ns: int | None = None
    """The same, as the mean of many small parts of it on the processor that the target was on; None where it was seldom seen to run."""
    load: float | None = None
    steal_share: float | None = None
    """Part of the machine's CPU time that the hypervisor took during the recording, 0..1."""
    throttled_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """What Python's garbage collector took of the target, by its own callbacks: exact, and in no sample of a sampler's."""

    cpu_ns: int
    """CPU time of the threads that it held up."""
    runs: tuple[int, ...]
    """Collections by generation, the full ones last."""
    lines: tuple[tuple[str, int, str, int, int], ...] = ()
    """(file, line, function's bare name, CPU ns, collections) of the program's lines that ran, the dearest first; not all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One recording of the target by one backend."""

    mode: str
    backend: str
    backend_version: str | None = None
    clock: str | None = None
    rate_asked_hz: float | None = None
    rate_kept_hz: float | None = None
    """What the overhead guard let stand of the rate asked for, as a mean; None where it let it all stand."""
    rate_achieved_hz: float | None = None
    visit_error_ns: int | None = None
    """
    How far at most the begin and the end of a visit to a function are off, where that is less than the weight of a sample: of samples
    that are taken at calls and returns a heavy one tells that nothing else ran. None: as far as a sample weighs.
    """
    weighed_by_time: bool = False
    """Does a sample weigh the time that passed around it, as measured? False: one weighs as another, or nobody knows."""
    samples: int | None = None
    missed: int | None = None
    errors: int | None = None
    overhead_ns: int | None = None
    """Time the profiler is known to have stopped the target; None where nobody measured it."""
    started_ns: int | None = None
    duration_ns: int | None = None
    """Wall time of the target under this backend."""
    cpu_ns: int | None = None
    """CPU time (user + system) of the target and its waited-for children."""
    exit_status: int | None = None
    """As a shell sees it: 128+n for a signal."""
    features: tuple[str, ...] = ()
    """Capture features that change what is seen: `native`, `children`, `pymalloc`."""
    unseen: tuple[str, ...] = ()
    """What the backend could not see here, one sentence each, for people."""
    notes: tuple[str, ...] = ()
    """What went wrong or was cut short, one sentence each."""
    complete: bool | None = None
    """Did every process deliver its part? False for a recording cut short."""
    attached: bool = False
    """Recorded from a running process: exposure is the observed second, not the finished program."""
    speed: Speed | None = None
    collector: Collector | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How far the run can be trusted, with the reasons."""

    verdict: Literal["good", "weak", "poor"]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What was run, where and how."""

    passes: tuple[Pass, ...] = ()
    command: tuple[str, ...] | None = None
    """The target's command line, secrets redacted."""
    cwd: str | None = None
    project_root: str | None = None
    python: str | None = None
    """`CPython 3.11.7` of the target."""
    host: str | None = None
    machine: str | None = None
    """Processor and number of cores."""
    git: Git | None = None
    quality: Quality | None = None
    lost: tuple[str, ...] = ()
    """What an importer's source format could not hold, or a reader had to drop."""
    reconstructed: bool = False
    """The tree is a guess made from caller-callee pairs."""
    source: str | None = None
    """Format that it was imported from; None for a recording of proftool's own."""
    sources: tuple[tuple[str, str], ...] = ()
    """(file as in functions.file, text) of the project's own files, embedded at record time."""

    @property
    def started_ns(self) -> int | None:
        """When the first pass started, ns since the epoch."""
        return min((p.started_ns for p in self.passes if p.started_ns is not None), default=None)

    @property
    def duration_ns(self) -> int | None:
        """Wall time of the first pass, the one whose time people mean."""
        return self.passes[0].duration_ns if self.passes else None

    @property
    def exit_status(self) -> int | None:
        """The first status that is not 0; None while none is known."""
        known = [p.exit_status for p in self.passes if p.exit_status is not None]
        return next((status for status in known if status), known[0] if known else None)

    @property
    def modes(self) -> tuple[str, ...]:
        """Modes of the passes, in order."""
        return tuple(p.mode for p in self.passes)

    @property
    def backends(self) -> tuple[str, ...]:
        """Backends of the passes, in order."""
        return tuple(p.backend for p in self.passes)
