"""Queries over 100,000 runs, in ms: `PYTHONPATH=tests python -m perf.store [RUNS] [--server]`. Nothing is asserted.

Each run has forty functions in the table of trends, of 2,000 that a command has. With `--server` the same on PostgreSQL, its profiles in
a folder.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from store.stores import profile, store_in

from proftool.contracts_store import RunQuery, TrendQuery
from proftool.settings import load
from proftool.store import open_store
from proftool.store.names import resolve
from proftool.store.rows import row_of
from proftool.store.runs import SqlRunStore
from proftool.store.schema import functions, runs

FUNCTIONS = 40


def ms(action: Callable[[], object], times: int = 40) -> float:
    """First decile of the action, ms: what it takes where nothing else runs."""
    taken: list[float] = []
    for _ in range(times):
        begin = time.perf_counter()
        action()
        taken.append((time.perf_counter() - begin) * 1000)
    return sorted(taken)[len(taken) // 10]


def filled(store: SqlRunStore, count: int) -> None:
    """Put that many runs in, past `add`: their profiles are not asked for."""
    given = profile(1, command=("python", "-m", "pytest", "-q", "tests/some/where"))
    row = row_of(given, id="", label=None, blob="", size_bytes=30_000, added_ns=0)
    with store.database.writing() as connection:
        names = [
            {"id": n, "module": f"app.part{n % 50}", "qualname": f"Class.function_{n}", "file": f"app/part{n % 50}.py"} for n in range(2000)
        ]
        connection.execute(functions.insert(), names)
        for start in range(0, count, 5000):
            span = range(start, min(start + 5000, count))
            rows = [
                row | {"id": f"{n * 2654435761 % 2**32:010x}", "blob": f"{n:064x}", "added_ns": n + 1, "git_commit": f"{n // 5:040x}"}
                | ({"label": f"label {n}"} if n % 100 == 0 else {"label": None})
                for n in span
            ]  # fmt: skip
            connection.execute(runs.insert(), rows)
    with store.database.plain(write=True) as connection:
        assert connection is not None
        for first in range(0, count, 20):
            values: list[int | str | None] = []
            for n in range(first, min(first + 20, count)):
                for at in range(FUNCTIONS):
                    values += ((at * 53 + n % 7) % 2000, 0, n + 1, at * 1000 + n, at * 2000 + n)
            rows = ", ".join(["(?, ?, ?, ?, ?)"] * (len(values) // 5))
            connection.execute(f"INSERT INTO function_values VALUES {rows}", values)


def measured(store: SqlRunStore, folder: Path, count: int) -> None:
    """Print what is asked of them."""
    given = profile(2, command=("python", "-m", "pytest", "-q", "tests/some/where"), weight=200)
    command = ("python", "-m", "pytest", "-q", "tests/some/where")
    asked: dict[str, Callable[[], object]] = {
        "list, 30 rows": lambda: store.find(RunQuery(limit=30)),
        "by label": lambda: store.find(RunQuery(label=f"label {count // 200 * 100}")),
        "by id prefix": lambda: store.find(RunQuery(id_prefix="00ab", limit=12)),
        "by commit": lambda: store.find(RunQuery(commit_prefix=f"{count // 10:040x}")),
        "@latest~50": lambda: resolve("@latest~50", store, folder),
        "size of all": store.size_bytes,
        "trend, 300 runs": lambda: store.trends(TrendQuery(function="Class.function_530", command=command)),
        "trend, by end": lambda: store.trends(TrendQuery(function="function_530", command=command)),
        "add": lambda: store.add(given),
    }
    for what, action in asked.items():
        print(f"{what:16} {ms(action):8.2f} ms")
    found = store.trends(TrendQuery(function="Class.function_530", command=command))
    assert len(found[0].points) == min(300, count)
    print(f"{'list, all rows':16} {ms(lambda: store.find(RunQuery()), 1):8.0f} ms")


def main(count: int, *, server: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = store_in(folder)
        filled(store, count)
        print(f"{count} runs, database {store.place.database.stat().st_size >> 20} MiB")
        measured(store, folder, count)
        if not server:
            return
        from store.servers import PostgresServer

        postgres = PostgresServer()
        try:
            flags = {"store": postgres.new_database(), "blobs": str(folder / "profiles")}
            shared = open_store(load(folder, flags=flags, environ={}))
            filled(shared, count)
            print("PostgreSQL")
            measured(shared, folder, count)
        finally:
            postgres.close()


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    main(int(words[0]) if words else 100_000, server="--server" in sys.argv)
