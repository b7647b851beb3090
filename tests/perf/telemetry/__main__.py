"""What watching a service costs it, beside what others' tools cost, in the same run: `python tests/perf/telemetry [PART …]`.

Parts: inside (a request in this process), sampler, served (uvicorn under `wrk`), instructions (the same under `valgrind`), memory (a
million requests). Nothing is asserted; tables and their meaning are in docs/pages/explanation/services.md.
"""

from __future__ import annotations

import argparse
import asyncio

import inside
import instructions
import memory
import sampler
import served


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("parts", nargs="*", default=["inside", "sampler", "served", "instructions", "memory"])
    parser.add_argument("--rounds", type=int, default=60, help="of the stacks inside")
    parser.add_argument("--load-rounds", type=int, default=8)
    parser.add_argument("--load-seconds", type=int, default=2)
    parser.add_argument("--only", default="", help="of the stacks under load, those with this in their name")
    parser.add_argument("--sampler-seconds", type=float, default=8.0)
    parser.add_argument("--requests", type=int, default=1_000_000)
    chosen = parser.parse_args()
    if "inside" in chosen.parts:
        asyncio.run(inside.stacks(chosen.rounds))
    if "sampler" in chosen.parts:
        sampler.sampler(chosen.sampler_seconds)
    if "served" in chosen.parts:
        served.under_load(chosen.load_rounds, chosen.load_seconds, chosen.only)
    if "instructions" in chosen.parts:
        instructions.of_a_request()
    if "memory" in chosen.parts:
        memory.memory(chosen.requests)


main()
