"""Two writers and four readers on one store at once; says in JSON what each of them saw.

python crowd.py FOLDER RUNS_A_WRITER
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from store.stores import profile, store_in

from proftool.contracts_store import RunQuery


def write(folder: Path, count: int) -> dict[str, object]:
    store = store_in(folder)
    return {"added": [store.add(profile(n + 1)).id for n in range(count)]}


def read(folder: Path, expected: int) -> dict[str, object]:
    store, counts = store_in(folder), [0]
    while counts[-1] < expected:
        runs = store.find(RunQuery())
        if runs:
            store.load(runs[0])
        counts.append(len(runs))
    return {"grows": counts == sorted(counts)}


def main(folder: Path, count: int) -> None:
    store_in(folder)
    pipes: list[int] = []
    for who in range(6):
        mine, theirs = os.pipe()
        if os.fork() == 0:
            try:
                said = write(folder, count) if who < 2 else read(folder, 2 * count)
            except BaseException as error:
                said = {"error": f"{type(error).__name__}: {error}"}
            os.write(theirs, json.dumps(said).encode())
            os._exit(0)
        os.close(theirs)
        pipes.append(mine)
    print(json.dumps([json.loads(os.read(pipe, 1 << 20)) for pipe in pipes]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
