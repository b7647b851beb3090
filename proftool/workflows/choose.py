"""Which backend records which mode: the one asked for, else the setting, else the first that can here; what none honours is refused.

A choice is data, so that the user can be told why. Nothing is started and no profiler is imported.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from proftool import registry
from proftool.contracts import AttachingBackend, Available, Backend, Clock, Interpreter, Mode, Process, RecordOptions, Unavailable
from proftool.errors import BackendUnavailable, PermissionNeeded, UsageError
from proftool.settings import Settings

RATE_MAX_HZ = 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """The options of a recording as asked for; None = not asked."""

    modes: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    clock: str | None = None
    rate_hz: float | None = None
    native: bool = False
    children: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One pass: a backend and its options, and why it is that one where nobody asked for it."""

    backend: Backend
    options: RecordOptions
    version: str
    reason: str | None = None


def choose(wishes: Wishes, settings: Settings, place: Interpreter | Process | None) -> tuple[Choice, ...]:
    """One choice a mode, in the order asked for; UsageError, BackendUnavailable or PermissionNeeded where there is none.

    `place` is what will run the target, or the running process to attach to.
    """
    clock = _clock(wishes.clock)
    asked = [registry.backend(name) for name in wishes.backends]
    modes = _modes(wishes.modes, asked)
    rate_hz = _rate(wishes.rate_hz)
    choices: list[Choice] = []
    for mode in modes:
        options = RecordOptions(mode=mode, clock=clock, rate_hz=rate_hz, native=wishes.native, children=wishes.children is not False)
        named = [backend for backend in asked if mode in backend.capabilities.modes]
        if len(named) > 1:
            raise UsageError(
                f"two backends for the mode `{mode}`: {' and '.join(b.name for b in named)}",
                cause="a mode is one pass of the target under one backend",
                fix="name one, or make two runs and `proftool diff` them",
            )
        choices.append(_given(named[0], options, wishes, settings, place) if named else _chosen(mode, options, wishes, settings, place))
    return tuple(choices)


def _modes(words: Sequence[str], asked: Sequence[Backend]) -> tuple[Mode, ...]:
    known = [str(mode) for mode in Mode]
    modes: list[Mode] = []
    for word in words:
        if word not in known:
            raise UsageError(f"no mode `{word}`", cause="a mode says which question a recording answers", fix=_near(word, known))
        if Mode(word) not in modes:
            modes.append(Mode(word))
    if not words:
        modes = list(dict.fromkeys(next(mode for mode in Mode if mode in backend.capabilities.modes) for backend in asked)) or [Mode.SAMPLE]
    for backend in asked:
        if not backend.capabilities.modes & set(modes):
            own = ", ".join(sorted(backend.capabilities.modes))
            raise UsageError(
                f"`--backend {backend.name}` contradicts `--mode {', '.join(modes)}`",
                cause=f"{backend.name} records the mode {own}",
                fix=f"leave out one of the two, or add `--mode {own}`",
            )
    return tuple(modes)


def _clock(word: str | None) -> Clock:
    if word is None:
        return Clock.WALL
    known = [str(clock) for clock in Clock]
    if word not in known:
        raise UsageError(f"no clock `{word}`", cause="the clock says what a sample's time means", fix=_near(word, known))
    return Clock(word)


def _rate(rate_hz: float | None) -> float | None:
    if rate_hz is not None and not 0 < rate_hz <= RATE_MAX_HZ:
        raise UsageError(
            f"a rate of {rate_hz:g} Hz cannot be kept",
            cause=f"a rate lies above 0 and up to {RATE_MAX_HZ:,.0f} samples a second",
            fix="`--rate 100` to `--rate 1000` suits most programs",
        )
    return rate_hz


def _near(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return (f"did you mean `{near[0]}`? " if near else "") + f"known are: {', '.join(known)}"


def _given(backend: Backend, options: RecordOptions, wishes: Wishes, settings: Settings, place: Interpreter | Process | None) -> Choice:
    refusal = _refusal(backend, options, wishes, place)
    if refusal is not None:
        raise UsageError(refusal, cause=f"{backend.name}: {backend.summary}", fix=_who_can(options, wishes, place))
    there = _there(backend, place)
    if not isinstance(there, Available):
        kind = PermissionNeeded if there.exit_code == PermissionNeeded.exit_code else BackendUnavailable
        what = f"attach to process {place.pid}" if isinstance(place, Process) else "record here"
        raise kind(f"{backend.name} cannot {what}", cause=there.cause, fix=there.fix)
    return Choice(backend=backend, options=_suited(backend, options, wishes, settings), version=there.version)


def _chosen(mode: Mode, options: RecordOptions, wishes: Wishes, settings: Settings, place: Interpreter | Process | None) -> Choice:
    """The setting's backend, else the first that is able and available; those passed over are named in the reason."""
    wanted = {Mode.SAMPLE: settings.sample_backend, Mode.TRACE: settings.trace_backend, Mode.MEMORY: settings.memory_backend}[mode]
    if wanted and isinstance(place, Process) and not registry.backend(wanted).capabilities.attach:
        wanted = None  # it is meant for programs that proftool starts
    names = [wanted] if wanted else registry.names("backend")
    passed: list[str] = []
    cause, fix, kind = "no backend records that mode", "`proftool doctor` lists the backends", BackendUnavailable
    for name in names:
        backend = registry.backend(name)
        if mode not in backend.capabilities.modes:
            if wanted:
                raise UsageError(
                    f"the setting `{mode}-backend` names `{name}`",
                    cause=f"{name} does not record the mode {mode}",
                    fix="change the setting",
                )
            continue
        refusal = _refusal(backend, options, wishes, place)
        there = _there(backend, place)
        if refusal is None and isinstance(there, Available):
            told = passed if not isinstance(place, Process) else [text for text in passed if "cannot attach" not in text]
            reason = f"{name} instead of {'; '.join(told)}" if told else None
            return Choice(backend=backend, options=_suited(backend, options, wishes, settings), version=there.version, reason=reason)
        if refusal is not None:
            passed.append(f"{name} ({refusal})")
            if kind is not PermissionNeeded:  # that one could do it, and is the better advice
                cause, fix, kind = refusal, _who_can(options, wishes, place), UsageError
        elif not isinstance(there, Available):
            passed.append(f"{name} ({there.cause})")
            cause, fix = there.cause, there.fix
            kind = PermissionNeeded if there.exit_code == PermissionNeeded.exit_code else BackendUnavailable
    if kind is UsageError:
        raise UsageError(f"no backend does that in the mode `{mode}`", cause="; ".join(passed), fix=fix)
    what = f"process {place.pid} cannot be attached to" if isinstance(place, Process) else f"no backend records the mode `{mode}` here"
    raise kind(what, cause=cause, fix=fix)


def _refusal(backend: Backend, options: RecordOptions, wishes: Wishes, place: Interpreter | Process | None) -> str | None:
    """What that backend cannot honour of what was asked for; None where it can do it all."""
    able, name = backend.capabilities, backend.name
    if isinstance(place, Process) and not able.attach:
        return f"{name} cannot attach to a running process"
    if options.clock not in able.clocks and wishes.clock is not None:
        return f"{name} has no {options.clock} clock"
    if options.rate_hz is not None and not able.rate:
        return f"{name} takes no `--rate`"
    if options.native and not able.native:
        return f"{name} sees no native frames"
    if wishes.children and not able.children:
        return f"{name} does not see child processes"
    return None


def _who_can(options: RecordOptions, wishes: Wishes, place: Interpreter | Process | None) -> str:
    able = [
        backend.name
        for backend in map(registry.backend, registry.names("backend"))
        if options.mode in backend.capabilities.modes and _refusal(backend, options, wishes, place) is None
    ]
    return f"`--backend {able[0]}`" if able else "leave the option out"


def _there(backend: Backend, place: Interpreter | Process | None) -> Available | Unavailable:
    """Can it record there?"""
    if isinstance(place, Process):
        able = isinstance(backend, AttachingBackend)
        return backend.preflight(place) if able else Unavailable(cause="it cannot attach to a running process", fix="`--backend py-spy`")
    return backend.availability(place)


def _suited(backend: Backend, options: RecordOptions, wishes: Wishes, settings: Settings) -> RecordOptions:
    """The options with defaults that suit the backend: the setting's rate, children only where it sees them."""
    able = backend.capabilities
    rate_hz = options.rate_hz if options.rate_hz is not None else settings.rate_hz if able.rate else None
    clock = options.clock if options.clock in able.clocks else min(able.clocks)
    return replace(
        options,
        rate_hz=rate_hz,
        clock=clock,
        children=able.children if wishes.children is None else wishes.children,
        overhead_budget=settings.overhead_budget,
    )
