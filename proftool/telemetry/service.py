"""`setup`: this process belongs to a service from now on; its workers are counted together, its numbers go where they are wanted.

Called once, early; again it changes nothing, and a forked worker needs no call. A thread (the keeper) wakes every second: it
reads what the system knows of the process (runtime.py) and hands the numbers to whoever subscribed (local store, OTLP,
alerts), so that no request waits for any of it. It starts at the first record after a fork too, for threads do not survive one.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from proftool.telemetry import metrics, workers
from proftool.telemetry.points import Sample

_LOG = logging.getLogger("proftool.telemetry")
VARIABLE = "PROFTOOL_TELEMETRY_DIR"
PERIOD_S = 1.0
LEAVE_S = 5.0
"""So long a worker that ends waits for another's last word; a store that hangs must not keep a whole service from ending."""

Listener = Callable[[Sequence[Sample], int], None]
"""Told every so often: the samples of the whole service, and the time in ns since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Who this process is."""

    name: str
    folder: Path | None
    """Where the workers' files are; None: this process is read alone."""
    since_ns: int
    """When its counting began, ns since the epoch: when the first of its workers joined."""


@dataclass(slots=True, eq=False)
class _Subscription:
    listener: Listener
    every_s: float
    due_s: float
    each: bool

    @property
    def role(self) -> str:
        """Which listeners are the same one in every worker: those of one function."""
        named = self.listener if hasattr(self.listener, "__qualname__") else type(self.listener)
        return f"{named.__module__}.{named.__qualname__}"


@dataclass(slots=True)
class _State:
    service: Service | None = None
    own: workers.Own | None = None
    tellers: dict[str, int] = field(default_factory=dict[str, int])
    """By role, the descriptor of the lock that makes this worker the one whose listener is told."""
    claiming: threading.Lock = field(default_factory=threading.Lock)
    keeper: threading.Thread | None = None
    pid: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    collectors: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    subscriptions: list[_Subscription] = field(default_factory=list[_Subscription])
    lock: threading.Lock = field(default_factory=threading.Lock)


_STATE = _State()


def setup(service: str | None = None, *, directory: str | Path | None = None, runtime: bool = True) -> Service:
    """
    Count this process as one of the service's workers.

    Args:
        service: name for people and for exports; else `OTEL_SERVICE_NAME`, else the program's.
        directory: folder that the workers share; else `PROFTOOL_TELEMETRY_DIR`, else one in memory for each server, found by itself.
        runtime: also measure CPU, memory, GC, threads, descriptors and event loop of the process.
    """
    with _STATE.lock:
        if _STATE.service is None:
            name = service or os.environ.get("OTEL_SERVICE_NAME") or Path(sys.argv[0] or "python").stem or "python"
            _STATE.service = Service(name=name, folder=_folder(name, directory), since_ns=time.time_ns())
            _join()
            if runtime:
                from proftool.telemetry.runtime import collect

                _STATE.collectors.append(collect)
            metrics.REGISTRY.awake = keep
            atexit.register(_leave)
        found = _STATE.service
    keep()
    return found


def _folder(name: str, directory: str | Path | None) -> Path | None:
    given = directory or os.environ.get(VARIABLE)
    if not workers.can_share():
        return None
    if given:
        return Path(given)
    try:
        workers.sweep(workers.base().iterdir())
        return workers.group_folder(name)
    except OSError as error:
        _LOG.warning("workers of %s are counted one by one: no shared folder (%s)", name, error)
        return None


def _join() -> None:
    service = _STATE.service
    if service is None or service.folder is None:
        return
    try:
        _STATE.own = workers.join(service.folder)
        metrics.REGISTRY.move(_STATE.own.segment)
        _STATE.service = replace(service, since_ns=workers.born(service.folder))
    except OSError as error:
        _STATE.own, _STATE.service = None, Service(name=service.name, folder=None, since_ns=time.time_ns())
        _LOG.warning("this worker of %s is counted alone: %s", service.name, error)


def service() -> Service | None:
    """What `setup` was told; None before it."""
    return _STATE.service


def samples() -> list[Sample]:
    """Every series of the service, all workers together, as they are now."""
    _collect()
    found = _STATE.service
    if found is None or found.folder is None or _STATE.own is None:
        return metrics.REGISTRY.own()
    return workers.read(found.folder)


def own_samples() -> list[Sample]:
    """Every series of this process alone."""
    _collect()
    return metrics.REGISTRY.own()


def subscribe(listener: Listener, *, every_s: float, each: bool = False) -> Callable[[], None]:
    """
    Hand the service's samples to the listener every so often, in the keeper's thread; returns what ends that.

    Args:
        each: in every worker; else in one of them, and in another when that one ends or dies.
    """
    subscription = _Subscription(listener, every_s, time.monotonic() + every_s, each)
    _STATE.subscriptions.append(subscription)
    keep()

    def end() -> None:
        with contextlib.suppress(ValueError):
            _STATE.subscriptions.remove(subscription)
            if not any(other.role == subscription.role for other in _STATE.subscriptions):
                _release(subscription.role)

    return end


def end_with_last_word(listener: Listener, end: Callable[[], None]) -> None:
    """End a subscription, and tell its listener what was counted since, unless another worker goes on to."""
    with _turn_to_leave():
        if any(one.listener == listener and _speaks(one) for one in tuple(_STATE.subscriptions)):
            listener(samples(), time.time_ns())
        end()


@contextlib.contextmanager
def _turn_to_leave() -> Generator[None]:
    """One worker at a time says its last word.

    A worker that counted on while another said its own would leave after it unheard, for the other holds its role until it is gone.
    """
    own = _STATE.own
    with contextlib.nullcontext() if own is None else workers.turn(own.folder / "leaving", LEAVE_S):
        yield


def _collect() -> None:
    for collector in tuple(_STATE.collectors):
        try:
            collector()
        except Exception:
            _STATE.collectors.remove(collector)
            _LOG.exception("a collector failed and was taken off: %r", collector)


def keep() -> None:
    """See that the keeper runs in this process."""
    if _STATE.pid == os.getpid():
        return
    with _STATE.lock:
        if _STATE.pid == os.getpid() or not (_STATE.collectors or _STATE.subscriptions):
            return
        _STATE.pid = os.getpid()
        _STATE.stop = threading.Event()
        _STATE.keeper = threading.Thread(target=_keeper, args=(_STATE.stop,), name="proftool-telemetry", daemon=True)
        _STATE.keeper.start()


def _keeper(stop: threading.Event) -> None:
    failed = False
    while not stop.wait(PERIOD_S):
        try:
            _keep_on()
            failed = False
        except Exception:  # nothing starts the keeper again: without it there is no export, no store and no alert any more
            if not failed:
                _LOG.exception("counting the workers of this service together failed; it is tried again every %g s", PERIOD_S)
            failed = True


def _keep_on() -> None:
    own = _STATE.own
    if own is not None and not (own.folder / own.name).exists():
        _rejoin(own)
    _collect()
    now = time.monotonic()
    due = [subscription for subscription in tuple(_STATE.subscriptions) if subscription.due_s <= now]
    if due:
        _tell(due, now)


def _rejoin(own: workers.Own) -> None:
    """This worker's file is gone, as after a tidying of temporary files: what it counted goes on in another, and no role is held."""
    _LOG.warning("what this worker counts in is gone from %s, and is made again", own.folder)
    own.leave_to_parent()
    with _STATE.claiming:
        for held in _STATE.tellers.values():
            os.close(held)
        _STATE.tellers.clear()
    _join()


def _tell(due: Sequence[_Subscription], now: float) -> None:
    speaking = [subscription for subscription in due if _speaks(subscription)]
    # A listener of each worker reads its own; the whole service is read where one speaks for all.
    found = [] if all(subscription.each for subscription in speaking) else samples()
    time_ns = time.time_ns()
    for subscription in due:
        subscription.due_s = now + subscription.every_s
        if subscription not in speaking:
            continue
        try:
            subscription.listener(found, time_ns)
        except Exception:
            _LOG.exception("handing on metrics failed; it is tried again in %g s", subscription.every_s)


def _speaks(subscription: _Subscription) -> bool:
    """Is this worker the one whose listener is told? One is as long as it lives, then another."""
    own, role = _STATE.own, subscription.role
    if own is None or subscription.each:
        return True
    with _STATE.claiming:
        if subscription not in _STATE.subscriptions:
            return False
        if role not in _STATE.tellers and (claimed := workers.claim(own.folder / f"{role}.teller")) is not None:
            _STATE.tellers[role] = claimed
        return role in _STATE.tellers


def _release(role: str) -> None:
    with _STATE.claiming:
        if (held := _STATE.tellers.pop(role, None)) is not None:
            os.close(held)


def flush() -> None:
    """Hand the samples to every listener now."""
    _tell(tuple(_STATE.subscriptions), time.monotonic())


def _leave() -> None:
    if _STATE.pid != os.getpid():
        return
    _STATE.stop.set()
    if _STATE.keeper is not None:
        _STATE.keeper.join(LEAVE_S)
    if _STATE.subscriptions:
        with _turn_to_leave():
            flush()
            for role in tuple(_STATE.tellers):
                _release(role)
    own = _STATE.own
    # The leader's end is the group's: nobody can scrape it any more. A worker's file stays, to be folded by those who live.
    if own is not None and own.pid == os.getpid() and own.folder.name.split("-")[-2:-1] == [str(os.getpid())]:
        shutil.rmtree(own.folder, ignore_errors=True)


def _after_fork() -> None:
    # Only this thread lives here; locks may be held by those that do not.
    _STATE.lock = threading.Lock()
    _STATE.claiming = threading.Lock()
    metrics.after_fork()
    if _STATE.own is not None:
        _STATE.own.leave_to_parent()
        # A copy of the parent's lock that stays open would hold its role when the parent is gone.
        for held in _STATE.tellers.values():
            os.close(held)
        _STATE.tellers.clear()
        _STATE.own = None
        _join()


if hasattr(os, "register_at_fork"):
    # No fork between the taking of a lock and the note of it.
    os.register_at_fork(
        before=lambda: _STATE.claiming.acquire(), after_in_parent=lambda: _STATE.claiming.release(), after_in_child=_after_fork
    )
