"""What following the advice gives: the pairs of tests/insights/effects.py, sides in turn in random order, a fresh process a value.

    python tests/perf/advice.py [RULE…]    a row of Markdown for each rule and shape, on stdout

The design and statistics are those of `proftool ab` (bench/statistics.py), without its search for a cause: a process counts as one
value, the median of its own; CPU time, or wall time where the work waits; Hodges and Lehmann's estimate of the factor with its
interval of 95 %.
docs/pages/explanation/insights.md and the rules' `effect` say what came out.
"""

from __future__ import annotations

import math
import random
import subprocess
import sys
from pathlib import Path

import numpy as np

from proftool.bench.statistics import estimate

FOLDER = Path(__file__).parent.parent / "insights"
N_PAIRS = 8
WAITS = ("blocked-loop", "busy-polling")
ONE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from effects import EFFECTS
work = EFFECTS[sys.argv[2], sys.argv[3]][sys.argv[4] == "after"]
clock = time.perf_counter if sys.argv[5] == "wall" else time.process_time
work()
values, end = [], time.perf_counter() + 0.1
while len(values) < 3 or time.perf_counter() < end:
    begin = clock()
    work()
    values.append(clock() - begin)
print(sorted(values)[len(values) // 2])
"""


def value(rule: str, shape: str, side: str) -> float:
    """Seconds of one call, of one fresh process."""
    words = [sys.executable, "-c", ONE, str(FOLDER), rule, shape, side, "wall" if rule in WAITS else "cpu"]
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    sys.path.insert(0, str(FOLDER))
    from effects import EFFECTS  # type: ignore[import-not-found]

    order = random.Random(7)
    print("| rule | shape | before | factor | interval |\n|---|---|--:|--:|---|")
    for rule, shape in EFFECTS:
        if sys.argv[1:] and rule not in sys.argv[1:]:
            continue
        pairs: list[dict[str, float]] = []
        for _ in range(N_PAIRS):
            sides = ["before", "after"]
            order.shuffle(sides)
            pairs.append({side: value(rule, shape, side) for side in sides})
        found = estimate(np.array([math.log(pair["before"] / pair["after"]) for pair in pairs]))
        before_ms = 1000 * float(np.median([pair["before"] for pair in pairs]))
        print(f"| {rule} | {shape} | {before_ms:.3g} ms | {found.ratio:.3g} | {found.low:.3g}–{found.high:.3g} |", flush=True)


if __name__ == "__main__":
    main()
