"""Adds runs to a team's store one after the other and says each that it announced: `python team_writer.py STORE BLOBS WHO COUNT`."""

from __future__ import annotations

import sys
from pathlib import Path

from store.stores import profile

from proftool.settings import load
from proftool.store import open_store


def main(store: str, blobs: str, who: int, count: int) -> None:
    opened = open_store(load(Path.cwd(), flags={"store": store, "blobs": blobs}, environ={}))
    for number in range(count):
        run = opened.add(profile(who * 1000 + number + 1, weight=30), label=f"writer {who}")
        print(run.id, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
