"""The same work as a rule of advice finds it and as it advises: (rule, shape) -> (before, after), which must give equal answers.

tests/perf/advice.py measures them; what came out is the rules' `effect`.
"""

import asyncio
import copy
import datetime
import functools
import gc
import json
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

DATES = [f"2026-{month:02d}-{day:02d}T12:30:{day:02d}" for month in range(1, 13) for day in range(1, 29)]
ROWS = [{"id": n, "name": f"name {n}", "tags": ["a", "b"], "price": n / 7} for n in range(500)]
PIECES = [f"piece {n} " * 4 for n in range(3000)]
NAMES = [f"word{n}" for n in range(600)]


@dataclass
class Order:
    id: int
    tags: list[str] = field(default_factory=list)
    lines: list[tuple[str, int]] = field(default_factory=list)


ORDERS = [Order(n, ["a", "b"], [("x", n), ("y", n + 1)]) for n in range(300)]


def strptime(texts: list[str]) -> list[datetime.datetime]:
    return [datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S") for text in texts]


def fromisoformat(texts: list[str]) -> list[datetime.datetime]:
    return [datetime.datetime.fromisoformat(text) for text in texts]


def strptime_kept(texts: list[str]) -> list[datetime.datetime]:
    known = functools.cache(lambda text: datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    return [known(text) for text in texts]


def a_pattern_a_name() -> list[bool]:
    re.purge()
    return [bool(re.search(rf"\b{name}\b", f"a {name} b")) for name in NAMES]


def one_pattern() -> list[bool]:
    re.purge()
    any_of = re.compile(r"\b(\w+)\b")
    return [name in any_of.findall(f"a {name} b") for name in NAMES]


def a_pattern_each_time() -> list[bool]:
    re.purge()  # a program with more than 512 patterns finds none of them kept
    found: list[bool] = []
    for name in NAMES[:100]:
        for text in ("x1", name, f"{name}-2"):
            re.purge()
            found.append(bool(re.match(rf"{name}(-\d+)?$", text)))
    return found


def a_pattern_kept() -> list[bool]:
    re.purge()
    found: list[bool] = []
    for name in NAMES[:100]:
        pattern = re.compile(rf"{name}(-\d+)?$")
        found += [bool(pattern.match(text)) for text in ("x1", name, f"{name}-2")]
    return found


def deep_rows() -> list[dict[str, object]]:
    return copy.deepcopy(ROWS)


def shallow_rows() -> list[dict[str, object]]:
    return [row | {"tags": list(row["tags"])} for row in ROWS]  # type: ignore[call-overload]


def deep_orders() -> list[Order]:
    return [copy.deepcopy(order) for order in ORDERS]


def replaced_orders() -> list[Order]:
    return [replace(order, tags=list(order.tags), lines=list(order.lines)) for order in ORDERS]


def indented() -> object:
    return json.loads(json.dumps(ROWS, indent=2))


def compact() -> object:
    return json.loads(json.dumps(ROWS))


def by_json() -> object:
    return json.loads(json.dumps(ROWS).encode())


def by_msgspec() -> object:
    import msgspec

    return msgspec.json.decode(msgspec.json.encode(ROWS))


def plus_held_twice() -> str:
    text, held = "", []
    for piece in PIECES:
        text = text + piece
        held = [text]
    return held[0]


def plus() -> str:
    text = ""
    for piece in PIECES:
        text += piece
    return text


def join() -> str:
    return "".join(PIECES)


@functools.cache
def _frame() -> object:
    import pandas

    return pandas.DataFrame({"a": range(3000), "b": [n / 3 for n in range(3000)]})


def iterrows() -> float:
    return round(sum(row["a"] * row["b"] for _, row in _frame().iterrows()), 3)  # type: ignore[attr-defined]


def apply_rows() -> float:
    return round(float(_frame().apply(lambda row: row["a"] * row["b"], axis=1).sum()), 3)  # type: ignore[attr-defined]


def zipped() -> float:
    return round(sum(a * b for a, b in zip(_frame()["a"], _frame()["b"], strict=True)), 3)  # type: ignore[index]


def columns() -> float:
    return round(float((_frame()["a"] * _frame()["b"]).sum()), 3)  # type: ignore[index]


@functools.cache
def _database() -> sqlite3.Connection:
    made = sqlite3.connect(":memory:", check_same_thread=False)
    made.execute("create table item (id integer primary key, name text)")
    made.executemany("insert into item values (?, ?)", [(n, f"name {n}") for n in range(5000)])
    return made


WANTED = list(range(0, 5000, 13))


def a_query_each() -> list[str]:
    return [_database().execute("select name from item where id = ?", (n,)).fetchone()[0] for n in WANTED]


def one_query() -> list[str]:
    marks = ",".join("?" * len(WANTED))
    found = dict(_database().execute(f"select id, name from item where id in ({marks})", WANTED))
    return [found[n] for n in WANTED]


def _inserted(write: Callable[[sqlite3.Connection], object]) -> int:
    made = sqlite3.connect(":memory:")
    made.execute("create table item (id integer, name text)")
    write(made)
    return made.execute("select count(*) from item").fetchone()[0]


def _each(made: sqlite3.Connection) -> None:
    for n in range(3000):
        made.execute("insert into item values (?, ?)", (n, "x"))


def insert_each() -> int:
    return _inserted(_each)


def insert_many() -> int:
    return _inserted(lambda made: made.executemany("insert into item values (?, ?)", [(n, "x") for n in range(3000)]))


def blocked() -> int:
    async def one() -> int:
        time.sleep(0.005)
        return 1

    return _gathered(one)


def in_threads() -> int:
    async def one() -> int:
        await asyncio.to_thread(time.sleep, 0.005)
        return 1

    return _gathered(one)


def _gathered(one: Callable[[], object]) -> int:
    async def all_() -> int:
        return sum(await asyncio.gather(*(one() for _ in range(8))))  # type: ignore[arg-type]

    return asyncio.run(all_())


def _handed_over(wait: Callable[[threading.Event], object]) -> int:
    done = 0
    for _ in range(10):
        ready = threading.Event()
        threading.Timer(0.003, ready.set).start()
        wait(ready)
        done += ready.is_set()
    return done


def polled() -> int:
    def wait(ready: threading.Event) -> None:
        while not ready.is_set():
            time.sleep(0.01)

    return _handed_over(wait)


def woken() -> int:
    return _handed_over(lambda ready: ready.wait(120))


def _built() -> int:
    kept = [{"id": n, "tags": [n], "next": (n, [])} for n in range(60_000)]
    return len(kept)


def collected() -> int:
    gc.enable()
    return _built()


def uncollected() -> int:
    gc.disable()
    try:
        return _built()
    finally:
        gc.enable()


EFFECTS: dict[tuple[str, str], tuple[Callable[[], object], Callable[[], object]]] = {
    ("strptime", "fromisoformat"): (lambda: strptime(DATES), lambda: fromisoformat(DATES)),
    ("strptime", "kept, each text ten times"): (lambda: strptime(DATES[:40] * 10), lambda: strptime_kept(DATES[:40] * 10)),
    ("regex-compile", "one pattern for 600"): (a_pattern_a_name, one_pattern),
    ("regex-compile", "compiled once for 3 uses"): (a_pattern_each_time, a_pattern_kept),
    ("deep-copy", "rows as dicts"): (deep_rows, shallow_rows),
    ("deep-copy", "dataclasses"): (deep_orders, replaced_orders),
    ("json", "without indent"): (indented, compact),
    ("json", "msgspec"): (by_json, by_msgspec),
    ("string-building", "another name holds the text"): (plus_held_twice, join),
    ("string-building", "no other name"): (plus, join),
    ("row-loop", "iterrows to columns"): (iterrows, columns),
    ("row-loop", "apply to columns"): (apply_rows, columns),
    ("row-loop", "iterrows to zip"): (iterrows, zipped),
    ("repeated-query", "SELECT, SQLite in memory"): (a_query_each, one_query),
    ("repeated-query", "INSERT, SQLite in memory"): (insert_each, insert_many),
    ("blocked-loop", "8 tasks of 5 ms"): (blocked, in_threads),
    ("busy-polling", "10 ms steps for 3 ms events"): (polled, woken),
    ("gc-pressure", "60,000 small objects"): (collected, uncollected),
}
