"""Programs that a rule must speak of, and near ones of which it must not. `programs.py NAME` runs one."""

import copy
import datetime
import importlib
import re
import sys
import time

WORDS = [f"2026-11-{day:02d} word{day}" for day in range(1, 29)]
ROWS = [{"id": n, "name": f"name {n}", "tags": ["a", "b", {"deep": [n, n + 1]}]} for n in range(60)]
TEXT = repr(ROWS).replace("'", '"')
PATTERN = re.compile(r"(\w+)-(\d+)")


def busy():
    return sum(n * n for n in range(3000))


def regex_compiled_in_a_loop():
    re.purge()
    return [re.match(rf"({word}|x{n})+[a-z]*\d{{2,5}}", word) for n, word in enumerate(WORDS)]


def regex_compiled_once():
    return [PATTERN.search(word) for word in WORDS * 40]


def dates_by_strptime():
    return [datetime.datetime.strptime(word[:10], "%Y-%m-%d") for word in WORDS * 4]


def dates_by_fromisoformat():
    return [datetime.datetime.fromisoformat(word[:10]) for word in WORDS * 40]


def deep_copies():
    return copy.deepcopy(ROWS)


def shallow_copies():
    return [[dict(row) for row in ROWS] for _ in range(40)]


def json_in_the_hot_path():
    import json

    return json.loads(json.dumps(json.loads(TEXT), indent=1))


def json_once():
    import json

    return json.loads(TEXT)["never"] if False else [busy() for _ in range(20)]


def string_built_by_plus():
    text = ""
    kept = []
    for _ in range(4000):
        text = text + "0123456789abcdef" * 8
        kept = [text]
    return kept


def string_built_by_join():
    return ["".join(["0123456789abcdef" * 8 for _ in range(4000)]) for _ in range(3)]


def rows_of_a_frame():
    import pandas

    frame = pandas.DataFrame({"a": range(300), "b": range(300)})
    return sum(row["a"] * row["b"] for _, row in frame.iterrows())


def columns_of_a_frame():
    import pandas

    frame = pandas.DataFrame({"a": range(300), "b": range(300)})
    return [(frame["a"] * frame["b"]).sum() for _ in range(30)]


def lock_held_by_another():
    import threading

    lock = threading.Lock()

    def hold():
        with lock:
            time.sleep(0.05)

    holder = threading.Thread(target=hold)
    holder.start()
    time.sleep(0.001)
    with lock:
        busy()
    holder.join()


def lock_free():
    import threading

    lock = threading.Lock()
    for _ in range(50):
        with lock:
            busy()


def polls():
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        time.sleep(0.0005)


def sleeps_once():
    time.sleep(0.05)


def _database():
    import sqlite3

    made = sqlite3.connect(":memory:")
    made.execute("create table item (id integer primary key, name text)")
    made.executemany("insert into item values (?, ?)", [(n, "x" * 300) for n in range(400)])
    return made


BASES = []


def base():
    if not BASES:
        BASES.append(_database())
    return BASES[0]


def query_for_each_row():
    known = base()
    return [known.execute("select name, length(hex(name)) from item where id = ?", (n,)).fetchone() for n in range(400)]


def query_for_all_rows():
    return base().execute("select id, name, length(hex(name)) from item").fetchall()


def imports_a_lot():
    for name in ("email.message", "xml.dom.minidom", "http.client", "unittest.mock", "concurrent.futures", "tomllib", "xmlrpc.client"):
        for known in [known for known in sys.modules if known.startswith(name.partition(".")[0])]:
            del sys.modules[known]
        importlib.import_module(name)


def a_library_imports():
    import pkgutil

    for name in ("email.message", "xml.dom.minidom", "http.client", "unittest.mock", "concurrent.futures", "tomllib", "xmlrpc.client"):
        for known in [known for known in sys.modules if known.startswith(name.partition(".")[0])]:
            del sys.modules[known]
        pkgutil.resolve_name(name)


def imports_little():
    for _ in range(40):
        busy()


plain = imports_little
KEPT = {}


def holds_one_big_list():
    if not KEPT:
        KEPT["rows"] = [bytes(1000) for _ in range(40_000)]
    busy()


def holds_little():
    bytes(1000)
    busy()


def many_small_objects():
    KEPT["rows"] = [{"id": n, "tags": [n], "next": (n, [])} for n in range(60_000)]


def many_small_objects_uncollected():
    import gc

    gc.disable()
    many_small_objects()


def few_large_objects():
    KEPT["rows"] = [bytes(60_000) for _ in range(300)]
    busy()


def reads_all_at_once():
    if not KEPT:
        KEPT["index"] = bytes(2_000_000)
        pieces = [bytes(1_000_000) for _ in range(60)]
        time.sleep(0.08)
        KEPT["sum"] = sum(map(len, pieces))
    time.sleep(0.01)


def reads_in_pieces():
    if not KEPT:
        KEPT["index"] = bytes(2_000_000)
        KEPT["sum"] = sum(len(bytes(1_000_000)) for _ in range(60))
    time.sleep(0.01)


def makes_temporaries():
    for _ in range(2000):
        bytearray(4000)


def makes_few_temporaries():
    if KEPT.setdefault("n", 0) < 24:
        KEPT["n"] += 1
        for _ in range(1000):
            bytearray(4000)
    busy()


def reuses_a_buffer():
    buffer = bytearray(4000)
    for n in range(2000):
        buffer[n] = 1


def leaks():
    KEPT[len(KEPT)] = bytes(60_000)
    time.sleep(0.004)


def fills_a_table_once():
    if not KEPT:
        KEPT["table"] = [bytes(60_000) for _ in range(60)]
    time.sleep(0.004)


async def blocks_the_loop():
    import asyncio

    time.sleep(0.02)
    await asyncio.sleep(0.001)


async def awaits():
    import asyncio

    busy()
    await asyncio.sleep(0.02)


def main(name, seconds):
    work = globals()[name]
    if name.endswith("_frame"):
        import pandas  # noqa: F401  the time is for the work
    if work.__code__.co_flags & 0x80:  # a coroutine function; `inspect` would take 30 ms to import
        import asyncio

        async def repeat():
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                await work()

        asyncio.run(repeat())
    else:
        # Work is counted by the processor's clock, so that a busy machine does not leave the start-up as the largest part.
        clock = time.monotonic if name in WAITING else time.process_time
        end = clock() + seconds
        while clock() < end:
            work()


WAITING = {"lock_held_by_another", "lock_free", "polls", "sleeps_once", "leaks", "fills_a_table_once"}
WAITING |= {"reads_all_at_once", "reads_in_pieces"}
LONG = {"imports_little", "a_library_imports"}
"""Beside which what Python itself loads is little."""

if __name__ == "__main__":
    main(sys.argv[1], 3.0 if sys.argv[1] in LONG else 0.8)
