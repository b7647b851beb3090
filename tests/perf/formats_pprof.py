"""A pprof of about 100 MB, read side by side with protobuf's own decoder (C, which only parses): time and peak memory.

    PYTHONPATH=tests python -m perf.formats_pprof [SAMPLES]

Stacks as a service has them: a few roots, deep, most of a stack shared with many others. Each reader runs in a process of its own.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from proftool.formats.wire import put_bytes, put_number, put_packed, put_varint

ROUNDS = 3
OURS = "from proftool.formats.pprof import format\nn = len(format.read(Path(sys.argv[1])).nodes)"
OFFICIAL = (
    "from formats.official import PprofProfile\np = PprofProfile()\np.ParseFromString(Path(sys.argv[1]).read_bytes())\nn = len(p.sample)"
)
MEASURE = """
import resource, sys, time
from pathlib import Path
import numpy
begin = time.perf_counter()
{}
print(n, time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def write(path: Path, n_samples: int) -> None:
    """Samples of two values and a label over 20,000 locations."""
    rng = random.Random(3)
    out = [put_bytes(1, put_number(1, 1) + put_number(2, 2)), put_bytes(1, put_number(1, 3) + put_number(2, 4))]
    numbers = [put_varint(at) for at in range(20_001)]
    paths: list[tuple[int, bytes]] = [(0, b"")]
    for at in range(n_samples):
        # Most samples are near one that was seen before: it calls on, or another function from the same place.
        depth, up = paths[rng.randrange(max(0, len(paths) - 400), len(paths))]
        if depth > 40:
            depth, up = paths[rng.randrange(min(len(paths), 50))]
        for _ in range(rng.randint(1, 3)):
            depth, up = depth + 1, numbers[min(int(rng.expovariate(1 / 3000)) + 1, 20_000)] + up
        paths.append((depth, up))
        values = put_packed(2, (rng.randint(1, 9), rng.randint(1, 9) * 10_000_000))
        out.append(put_bytes(2, put_bytes(1, up) + values + put_bytes(3, put_number(1, 5) + put_number(3, at % 8 + 1))))
    for at in range(1, 20_001):
        out.append(put_bytes(4, put_number(1, at) + put_bytes(4, put_number(1, at % 4000 + 1) + put_number(2, at % 700 + 1))))
    for at in range(4000):
        out.append(put_bytes(5, put_number(1, at + 1) + put_number(2, 6 + at) + put_number(4, 4006 + at % 300)))
    texts = [
        "",
        "samples",
        "count",
        "cpu",
        "nanoseconds",
        "tid",
        *(f"function_{n}" for n in range(4000)),
        *(f"pack/m{n}.py" for n in range(300)),
    ]
    path.write_bytes(b"".join([*out, *(put_bytes(6, text.encode()) for text in texts)]))


def measure(code: str, path: Path) -> tuple[int, float, int]:
    """What was counted, seconds and MiB of a fresh process."""
    done = subprocess.run([sys.executable, "-c", MEASURE.format(code), str(path)], check=True, capture_output=True, text=True)
    n, seconds, mib = done.stdout.split()
    return int(n), float(seconds), int(mib)


def main() -> None:
    """Print one line a reader."""
    n_samples = int(sys.argv[1]) if len(sys.argv) > 1 else 1_450_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profile"
        write(path, n_samples)
        print(f"{path.stat().st_size / 1e6:.0f} MB, {n_samples:,} samples")
        found = {name: [] for name in ("protobuf, parsing only", "proftool")}
        for _ in range(ROUNDS):
            for name, code in (("protobuf, parsing only", OFFICIAL), ("proftool", OURS)):
                found[name].append(measure(code, path))
        for name, rows in found.items():
            n, _, mib = rows[0]
            what = "samples" if "only" in name else "nodes"
            print(f"{name:24} {statistics.median(s for _, s, _ in rows):5.2f} s  {mib:5} MiB  {n:>9,} {what}")


if __name__ == "__main__":
    main()
