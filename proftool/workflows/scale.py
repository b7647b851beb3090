"""The verb `scale`: one command at several sizes, traced, and the exponent of every function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from proftool.contracts_store import Run
from proftool.errors import BackendFailed, UsageError
from proftool.launch import targets
from proftool.model.growth import SUPERLINEAR, Growth, growth
from proftool.model.profile import Profile
from proftool.model.tree import metric_total
from proftool.settings import Settings
from proftool.store.runs import SqlRunStore
from proftool.units import NS_PER_S
from proftool.workflows.choose import Wishes
from proftool.workflows.record import Request, record

PLACE = "{n}"
REPEATS = 3
_SHORT_NS = NS_PER_S // 2
"""A run of less time is traced again: a pause of 30 ms by another process bends its exponent, and three in a row are rare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """A run of each size, smallest first, and what grows how."""

    sizes: tuple[int, ...]
    runs: tuple[Run | None, ...]
    """The first of each size."""
    functions: tuple[Growth, ...]


def sizes_of(text: str) -> tuple[int, ...]:
    """`1e3,1e4,1e5` as ascending integers; UsageError for fewer than two, or what is no positive number."""
    try:
        found = sorted({int(float(word)) for word in text.split(",")})
    except (ValueError, OverflowError) as error:
        raise UsageError(f"`--sizes {text}`", cause=str(error), fix="write sizes with commas: `--sizes 1e3,1e4,1e5`") from error
    if len(found) < 2 or found[0] < 1:
        raise UsageError(f"`--sizes {text}`", cause="growth shows in two positive sizes or more", fix="`--sizes 1e3,1e4,1e5`")
    return tuple(found)


def scale(
    words: Sequence[str],
    sizes: Sequence[int],
    store: SqlRunStore,
    settings: Settings,
    say: Callable[[str], None],
    *,
    python: Path | None = None,
) -> Scaled:
    """Record the command at every size, `{n}` in its words replaced; BackendFailed where a run ends badly or leaves nothing."""
    if not any(PLACE in word for word in words):
        raise UsageError(
            "where does the size go?",
            cause=f"no word of the command holds `{PLACE}`",
            fix=f"`proftool scale --sizes 1e3,1e4 -- app.py {PLACE}`",
        )
    runs: list[Run | None] = []
    profiles: list[list[Profile]] = []
    for n in sizes:
        command = [word.replace(PLACE, str(n)) for word in words]
        say(f"{n:,}: {' '.join(command)}")
        program = targets.resolve(command, python=python)
        request = Request(program=program, wishes=Wishes(modes=("trace",)), stdout=2)
        same: list[Profile] = []
        while not same or (len(same) < REPEATS and sum(_wall_ns(one) for one in same) < _SHORT_NS):
            recorded = record(request, store, settings, lambda _text: None)
            if recorded.target_status or not recorded.kept:
                cause = f"it ended with status {recorded.target_status}" if recorded.target_status else recorded.losses[0].cause
                raise BackendFailed(f"no measurement at size {n:,}", cause=cause, fix="run the command by itself at that size")
            if not same:
                runs.append(recorded.kept[-1].run)
            same.append(recorded.kept[-1].profile)
        profiles.append(same)
    return Scaled(sizes=tuple(sizes), runs=tuple(runs), functions=growth(sizes, profiles))


def _wall_ns(profile: Profile) -> int:
    return metric_total(profile, profile.metric_index("wall_time"))


def document(scaled: Scaled) -> dict[str, object]:
    """proftool.scale/1."""

    def exponent(one: object) -> object:
        from dataclasses import asdict

        return None if one is None else asdict(one)  # pyright: ignore[reportArgumentType]

    return {
        "schema": "proftool.scale/1",
        "sizes": list(scaled.sizes),
        "runs": [None if run is None else run.id for run in scaled.runs],
        "functions": [
            {
                "name": one.key.qualname,
                "module": one.key.module,
                "file": one.key.file or None,
                "line": one.line or None,
                "self_ns": list(one.self_ns),
                "calls": list(one.calls),
                "exponent": exponent(one.time),
                "calls_exponent": exponent(one.call_count),
                "superlinear": one.time.estimate >= SUPERLINEAR,
            }
            for one in scaled.functions
        ],
    }
