"""Which runs go by age, count and size; never one that bears a label."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from proftool.contracts_store import Run, RunQuery
from proftool.store.runs import SWEEP_GRACE_NS, SqlRunStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What went, or would go."""

    runs: tuple[Run, ...]
    blobs_swept: int
    """Profiles without a run, left by a killed writer."""

    @property
    def size_bytes(self) -> int:
        """Bytes that the runs took."""
        return sum(run.size_bytes for run in self.runs)


def prune(
    store: SqlRunStore,
    *,
    before_ns: int | None = None,
    keep: int | None = None,
    max_bytes: int | None = None,
    spare: Collection[str] = (),
    dry_run: bool = False,
    grace_ns: int = SWEEP_GRACE_NS,
) -> Pruned:
    """
    Remove unlabelled runs that any of the rules names, oldest first, and sweep blobs without a run.

    Args:
        before_ns: added before that time, ns since the epoch.
        keep: all but the newest so many; labelled ones count, but stay.
        max_bytes: the oldest, until all profiles together take no more.
        spare: ids that stay whatever the rules say.
        grace_ns: blobs and temporary files younger than that may belong to a writer under way.
    """
    chosen = choose(store.find(RunQuery()), before_ns=before_ns, keep=keep, max_bytes=max_bytes, spare=spare)
    if dry_run:
        return Pruned(runs=chosen, blobs_swept=0)
    return Pruned(runs=store.remove_unlabelled(chosen), blobs_swept=store.sweep(grace_ns))


def choose(
    runs: Sequence[Run], *, before_ns: int | None = None, keep: int | None = None, max_bytes: int | None = None, spare: Collection[str] = ()
) -> tuple[Run, ...]:
    """Those of the runs (newest first) that go, oldest first."""
    free = [(place, run) for place, run in enumerate(runs) if run.label is None and run.id not in spare]
    gone: list[Run] = []
    left = sum(run.size_bytes for run in runs)
    for place, run in reversed(free):
        old = before_ns is not None and run.added_ns < before_ns
        many = keep is not None and place >= keep
        big = max_bytes is not None and left > max_bytes
        if old or many or big:
            gone.append(run)
            left -= run.size_bytes
    return tuple(gone)
