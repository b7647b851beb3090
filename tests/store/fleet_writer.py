"""Sends slices to a fleet one after the other and says each that was taken: `python fleet_writer.py URL PID COUNT START_NS`."""

from __future__ import annotations

import sys

from store.slices import a_slice

from proftool.store.fleet.facts import Source
from proftool.store.fleet.fleet import Fleet


def main(url: str, pid: int, count: int, start_ns: int) -> None:
    fleet = Fleet(url)
    for number in range(count):
        fleet.send([a_slice(start_ns, {"slow": 1000, f"own_{pid}": 500}, pid=pid)], Source(version="1", host="a"), batch=f"{pid}.{number}")
        print(number, flush=True)
    fleet.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
