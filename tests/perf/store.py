"""Queries over 100,000 runs, in ms: `PYTHONPATH=tests python -m perf.store [RUNS]`. Nothing is asserted."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from store.stores import profile, store_in

from proftool.contracts_store import RunQuery
from proftool.store.names import resolve
from proftool.store.rows import row_of
from proftool.store.schema import runs


def ms(action: Callable[[], object], times: int = 15) -> float:
    """Median of the action, ms."""
    taken: list[float] = []
    for _ in range(times):
        begin = time.perf_counter()
        action()
        taken.append((time.perf_counter() - begin) * 1000)
    return statistics.median(taken)


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = store_in(folder)
        given = profile(1, command=("python", "-m", "pytest", "-q", "tests/some/where"))
        row = row_of(given, id="", label=None, blob="", size_bytes=30_000, added_ns=0)
        with store.database.writing() as connection:
            for start in range(0, count, 5000):
                rows = [
                    row | {"id": f"{n * 2654435761 % 2**32:010x}", "blob": f"{n:064x}", "added_ns": n + 1, "git_commit": f"{n // 5:040x}"}
                    | ({"label": f"label {n}"} if n % 100 == 0 else {})
                    for n in range(start, min(start + 5000, count))
                ]  # fmt: skip
                connection.execute(runs.insert(), rows)
        print(f"{count} runs, database {store.place.database.stat().st_size >> 20} MiB")
        asked: dict[str, Callable[[], object]] = {
            "list, 30 rows": lambda: store.find(RunQuery(limit=30)),
            "by label": lambda: store.find(RunQuery(label=f"label {count // 200 * 100}")),
            "by id prefix": lambda: store.find(RunQuery(id_prefix="00ab", limit=12)),
            "by commit": lambda: store.find(RunQuery(commit_prefix=f"{count // 10:040x}")),
            "@latest~50": lambda: resolve("@latest~50", store, folder),
            "size of all": store.size_bytes,
            "add": lambda: store.add(given),
        }
        for what, action in asked.items():
            print(f"{what:16} {ms(action):8.2f} ms")
        print(f"{'list, all rows':16} {ms(lambda: store.find(RunQuery()), 1):8.0f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
