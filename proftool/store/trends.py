"""What each run's largest functions took, in a table beside the runs: one function over hundreds of runs without opening a profile.

A row a function, run and quantity: of each run the `TOP` largest by self value and the `TOP_PROJECT` largest of the project's own by
total, in one time, one size and one count. A function that is smaller than these in a run has no row of it. A function is known by
module, qualified name and file, under a hash of them, so that adding a run asks nothing back.

Rows are keyed (function, quantity, time of the run): a trend is one stretch of the primary key (tests/perf/store.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, cast

import numpy as np

from proftool.contracts_store import Trend, TrendPoint, TrendQuery
from proftool.model.profile import Category, Kind, Profile, ints
from proftool.model.tree import Tree, function_self, function_total

if TYPE_CHECKING:
    from proftool.store.database import Asking
    from proftool.store.runs import SqlRunStore

TOP = 30
TOP_PROJECT = 20
GROUPS = (("wall_time", "cpu_time", "samples"), ("peak_bytes", "allocated_bytes"), ("calls",))
"""Quantities, of each group the first that the run has."""
METRICS = ("wall_time", "cpu_time", "samples", "peak_bytes", "allocated_bytes", "calls")
"""The number of a quantity in the table is its place here; new ones are added at the end."""
_ROWS = 200
"""In one statement: 1000 values, which every SQLite takes."""


def index(connection: Asking, profile: Profile, added_ns: int) -> None:
    """Write a run's rows, inside the transaction that adds the run."""
    f = profile.functions
    functions: dict[int, tuple[int | str, ...]] = {}
    rows: list[tuple[int | str, ...]] = []
    for function, metric, own, total in _largest(profile):
        module, qualname, file = (profile.text(int(column[function])) for column in (f.module, f.qualname, f.file))
        id = _id(module, qualname, file)
        functions[id] = (id, module, qualname, file)
        rows.append((id, metric, added_ns, own, total))
    _insert(connection, "functions (id, module, qualname, file)", list(functions.values()))
    _insert(connection, "function_values (function_id, metric, added_ns, self_value, total)", _summed(rows))


def _largest(profile: Profile) -> list[tuple[int, int, int, int]]:
    """(function, number of the quantity, self, total) of those that are kept."""
    if not len(profile.functions):
        return []
    tree = Tree.of(profile)
    own_code = (profile.functions.category == Category.PROJECT) & (profile.functions.kind != Kind.SYNTHETIC)
    found: list[tuple[int, int, int, int]] = []
    for group in GROUPS:
        name = next((name for name in group if profile.has_metric(name)), None)
        if name is None:
            continue
        at = profile.metric_index(name)
        own, total = function_self(profile, at), function_total(profile, at, tree)
        chosen = np.zeros(len(own), bool)
        for values, rows, most in ((own, np.flatnonzero(own), TOP), (total, np.flatnonzero(own_code & (total != 0)), TOP_PROJECT)):
            chosen[rows[np.argsort(-values[rows], kind="stable")[:most]]] = True
        found += [(row, METRICS.index(name), int(own[row]), int(total[row])) for row in ints(np.flatnonzero(chosen))]
    return found


def _summed(rows: list[tuple[int | str, ...]]) -> list[tuple[int | str, ...]]:
    """Functions that only their lines tell apart (two lambdas of one owner) are one row, with the sum of their self values."""
    found: dict[tuple[int | str, ...], tuple[int | str, ...]] = {}
    for row in rows:
        key, (own, total) = row[:3], cast(tuple[int, int], row[3:])
        before = cast(tuple[int, int], found[key][3:]) if key in found else (0, 0)
        found[key] = (*key, before[0] + own, max(before[1], total))
    return list(found.values())


def _id(module: str, qualname: str, file: str) -> int:
    content = "\0".join((module, qualname, file)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little") >> 1  # signed 64 bits on every database


def _insert(connection: Asking, into: str, rows: Sequence[tuple[int | str, ...]]) -> None:
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        one = f"({', '.join('?' * len(some[0]))})"
        values = [value for row in some for value in row]
        connection.execute(f"INSERT INTO {into} VALUES {', '.join([one] * len(some))} ON CONFLICT DO NOTHING", values)


def functions_named(connection: Asking, name: str) -> list[tuple[int, str, str, str]]:
    """
    (id, module, qualified name, file) of functions of that name: `qualname`, `module:qualname` or the bare name behind the last dot.

    Whole names first: where one fits, those that only end so are left out.
    """
    module, colon, qualname = name.rpartition(":")
    question = "SELECT id, module, qualname, file FROM functions WHERE "
    found = list(connection.execute(question + "qualname = ?", (qualname,)))
    if not found:
        found = [
            row for row in connection.execute(question + "qualname LIKE ?", (f"%.{qualname}",)) if str(row[2]).endswith(f".{qualname}")
        ]
    rows = [(int(cast(int, id)), str(m), str(q), str(f)) for id, m, q, f in found]
    return [row for row in rows if not colon or row[1] == module or row[1].endswith(f".{module}")]


def trend(connection: Asking, function: tuple[int, str, str, str], query: TrendQuery) -> Trend | None:
    """A function over the newest runs that have it, oldest first; None where none has."""
    id, module, qualname, file = function
    metrics = [METRICS.index(query.metric)] if query.metric is not None else range(len(METRICS))
    for metric in metrics:
        values: list[str | int] = [id, metric]
        only = ""
        if query.command is not None:
            only, values = " AND runs.command = ?", [*values, json.dumps(query.command)]
        rows = list(
            connection.execute(
                "SELECT runs.id, runs.added_ns, runs.label, runs.git_commit, runs.command, v.self_value, v.total FROM function_values AS v "
                f"JOIN runs ON runs.added_ns = v.added_ns WHERE v.function_id = ? AND v.metric = ?{only} ORDER BY v.added_ns DESC LIMIT ?",
                [*values, query.limit],
            )
        )
        if rows:
            points = tuple(_point(row) for row in reversed(rows))
            return Trend(module=module, qualname=qualname, file=file, metric=METRICS[metric], points=points)
    return None


def _point(row: Sequence[object]) -> TrendPoint:
    id, added_ns, label, commit, command, own, total = row
    return TrendPoint(
        run_id=str(id),
        added_ns=cast(int, added_ns),
        label=cast(str | None, label),
        commit=cast(str | None, commit),
        command=None if command is None else str(command),
        self_value=cast(int, own),
        total=cast(int, total),
    )


def fill(store: SqlRunStore, limit: int) -> int:
    """Index those of the newest runs that an older proftool stored; how many."""
    from proftool.contracts_store import RunQuery
    from proftool.errors import FormatError, StoreError

    with store.database.plain() as connection:
        if connection is None:
            return 0
        missing = connection.execute(
            "SELECT id FROM (SELECT id, added_ns FROM runs ORDER BY added_ns DESC LIMIT ?) AS newest "
            "WHERE NOT EXISTS (SELECT 1 FROM function_values AS v WHERE v.added_ns = newest.added_ns)",
            (limit,),
        )
        ids = tuple(str(row[0]) for row in missing)
    done = 0
    for run in store.find(RunQuery(ids=ids)):
        try:
            profile = store.load(run)
        except (StoreError, FormatError):
            continue  # `doctor` tells of a profile that is gone or damaged
        with store.database.plain(write=True) as connection:
            assert connection is not None
            if connection.execute("SELECT id FROM runs WHERE id = ? AND added_ns = ?", (run.id, run.added_ns)).fetchone() is not None:
                index(connection, profile, run.added_ns)
                done += 1
    return done
