"""Works on a store in forked processes that are killed at random moments, then says in JSON what of the store's promises broke.

    python fire.py FOLDER ROUNDS SEED

One process imports everything and forks a child a round: 200 kills take seconds, where 200 starts of Python would take minutes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from store.stores import profile, store_in

from proftool.contracts_store import RunQuery
from proftool.errors import ProftoolError
from proftool.formats import native
from proftool.store.prune import prune
from proftool.store.repair import examine
from proftool.store.runs import SqlRunStore
from proftool.workflows.imports import import_files


def work(kind: str, folder: Path, log: int) -> None:
    """One child: announce what is done, until killed."""
    store = store_in(folder)
    for number in range(1, 10_000):
        if kind == "add":
            run = store.add(profile(number, weight=number % 7 * 40), label="keep" if number % 3 == 0 else None)
            os.write(log, f"{run.id}\n".encode())
        elif kind == "import":
            for imported in import_files([folder / "files"], store, label="keep"):
                assert imported.run is not None
                os.write(log, f"{imported.run.id}\n".encode())
        else:
            prune(store, keep=10, grace_ns=0)
            for extra in range(4):
                store.add(profile(extra + 1))


def broken_promises(store: SqlRunStore, kind: str, announced: list[str], labelled: set[str]) -> list[str]:
    """What does not hold after a kill."""
    runs = {run.id: run for run in store.find(RunQuery())}
    broken = [f"{kind}: announced run {id} is lost" for id in announced if id not in runs]
    broken += [f"{kind}: labelled run {id} is lost" for id in labelled - set(runs)]
    for run in runs.values():
        try:
            store.load(run)
        except ProftoolError as error:
            broken.append(f"{kind}: listed run {run.id} is not whole: {error.what}")
    return broken


def main(folder: Path, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    (folder / "files").mkdir()
    for number in range(6):
        (folder / "files" / f"{number}.proftool").write_bytes(native.dumps(profile(number + 1, weight=30)))
    broken: list[str] = []
    kinds: dict[str, int] = {}
    store = store_in(folder)
    # Makes the table, and imports what adding and removing do: a child does not live long enough for that.
    store.remove([store.add(profile(1))])
    for turn in range(rounds):
        kind = ("add", "import", "prune")[turn % 3]
        log = folder / f"log-{turn}"
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        pid = os.fork()
        if pid == 0:
            try:
                work(kind, folder, file)
            finally:
                os._exit(70)  # only reached where the work itself failed
        end = time.monotonic() + 60
        while turn == 0 and not log.stat().st_size and time.monotonic() < end:
            time.sleep(0.001)  # one round at least is killed when something was announced, however busy the machine is
        time.sleep(chance.uniform(0.001, 0.25))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(file)
        if not os.WIFSIGNALED(status):
            broken.append(f"{kind}: the child failed by itself")
        announced = [id for id in log.read_text().split("\n")[:-1] if id]
        labelled = {run.id for run in store.find(RunQuery(label="keep"))}
        broken += broken_promises(store, kind, announced, labelled & set(announced))
        kinds[kind] = kinds.get(kind, 0) + len(announced)
        if turn % 10 == 9:  # keeps the verification itself short
            store.remove(store.find(RunQuery(offset=15)))
    store.sweep(0)
    left = [finding.what for finding in examine(store)]
    after = store.add(profile(1))
    whole = store.load(after).meta == profile(1).meta
    print(json.dumps({"broken": broken, "announced": kinds, "left": left, "takes_more": whole}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
