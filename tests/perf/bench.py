"""Can the verdicts be believed? Identical and planted programs, by `ab` and by what other tools would say of the same two.

    python tests/perf/bench.py aa --rounds 200 --budget 12s      identical code: false alarms
    python tests/perf/bench.py planted --percent 5 --rounds 40
    python tests/perf/bench.py command --percent 20 --rounds 5    a command of about a second: how long until the verdict
    python tests/perf/bench.py peers --percent 0 --rounds 40     pyperf, pytest-benchmark and hyperfine with their usual gates
    python tests/perf/bench.py instructions --rounds 10

One JSON line a round on stdout, a summary at the end. pyperf: `timeit` once a side, its own t-test. pytest-benchmark: one run a side,
`--benchmark-compare-fail=mean:5%`. hyperfine: both commands in one call, means further apart than two joint standard deviations.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SUBJECT = """def inner(n):
    total = 0
    for i in range(n):
        total += i % 7
    return total
def bench_loop():
    return inner({n})
"""
TEST = "from bench_loop import bench_loop\ndef test_loop(benchmark):\n    benchmark(bench_loop)\n"
PROGRAM = "from bench_loop import bench_loop\nfor _ in range({times}):\n    bench_loop()\n"
N = 20_000


def git(root: Path, *words: str) -> None:
    """git in the repository, without its user's settings."""
    names = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *names, *words], cwd=root, check=True, capture_output=True)


def write(root: Path, percent: float, times: int) -> None:
    """The programs with the loop longer by so many percent; the command runs it so many times."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "bench_loop.py").write_text(SUBJECT.format(n=round(N * (1 + percent / 100))))
    (root / "test_loop.py").write_text(TEST)
    (root / "prog.py").write_text(PROGRAM.format(times=times))


def repository(folder: Path, percent: float, times: int) -> Path:
    """A commit `base`, and one `new` with the planted change."""
    root = folder / "repository"
    write(root, 0, times)
    (root / "pyproject.toml").write_text('[project]\nname = "subject"\nversion = "0"\n')
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "base")
    git(root, "tag", "base")
    write(root, percent, times)
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", "new")
    git(root, "tag", "new")
    return root


def ab(root: Path, *form: str) -> dict[str, object]:
    """One comparison: verdict, estimate, first cause, pairs and seconds."""
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "proftool", "ab", "base", "new", "--json", *form], cwd=root, capture_output=True, text=True
    )
    if done.returncode not in (0, 1, 10):
        raise SystemExit(done.stderr)
    document = json.loads(done.stdout)
    (row,) = document["benchmarks"]
    causes = row["causes"]
    return {
        "verdict": row["verdict"],
        "ratio": round(row["ratio"]["estimate"], 4),
        "pairs": row["base"]["n"],
        "seconds": round(time.perf_counter() - begin, 1),
        "verdict_s": round(document.get("seconds", 0.0), 1),
        "control": (document["null_control"] or {}).get("verdict"),
        "cause": causes[0]["name"] if causes else None,
    }


def peers(folder: Path, percent: float) -> dict[str, object]:
    """What the others say of the same two programs, measured one after the other as they are used: True is an alarm."""
    for name, own in (("base", 0.0), ("new", percent)):
        write(folder / name, own, 300)
    said: dict[str, object] = {}
    for name in ("base", "new"):
        subprocess.run(
            [sys.executable, "-m", "pyperf", "timeit", "-q", "-s", "from bench_loop import bench_loop", "bench_loop()", "-o",
             f"../{name}.json"],
            cwd=folder / name, check=True, capture_output=True, env={"PYTHONPATH": str(folder / name), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
    compared = subprocess.run(
        [sys.executable, "-m", "pyperf", "compare_to", "base.json", "new.json"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    said["pyperf"] = "not significant" not in compared
    storage = ["--benchmark-storage", f"file://{folder}/storage", "-q", "-p", "no:cacheprovider", "-c", "/dev/null"]
    for name, more in (("base", ["--benchmark-save=one"]), ("new", ["--benchmark-compare", "--benchmark-compare-fail=mean:5%"])):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *storage, *more, "--rootdir", str(folder / name), "test_loop.py"],
            cwd=folder / name, capture_output=True, text=True, check=False,
        )  # fmt: skip
    said["pytest-benchmark"] = "Performance has regressed" in done.stdout + done.stderr
    if hyperfine := shutil.which("hyperfine"):
        commands = [f"{sys.executable} {folder}/{name}/prog.py" for name in ("base", "new")]
        subprocess.run([hyperfine, "-N", "-w", "2", "--export-json", "h.json", *commands], cwd=folder, check=True, capture_output=True)
        base, new = json.loads((folder / "h.json").read_text())["results"]
        said["hyperfine"] = abs(new["mean"] - base["mean"]) > 2 * (base["stddev"] ** 2 + new["stddev"] ** 2) ** 0.5
    return said


def main() -> None:
    """Run the series and sum it up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("series", choices=("aa", "planted", "command", "peers", "instructions"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--percent", type=float, default=0.0)
    parser.add_argument("--budget", help="time for one comparison, as of `ab`; its default where it is left out")
    asked = parser.parse_args()
    more = ["--budget", asked.budget] if asked.budget else []
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="bench-series-") as name:
        folder = Path(name)
        root = repository(folder, 0.0 if asked.series == "aa" else asked.percent, 700 if asked.series == "command" else 300)
        for at in range(asked.rounds):
            match asked.series:
                case "peers":
                    row = peers(folder / f"peers-{at}", asked.percent)  # pyperf overwrites nothing
                case "command":
                    row = ab(root, *more, "--", "python", "prog.py")
                case "instructions":
                    row = ab(root, *more, "--bench", "--instructions")
                case _:
                    row = ab(root, *more, "--bench")
            rows.append(row)
            print(json.dumps(row), flush=True)
    keys = ("pyperf", "pytest-benchmark", "hyperfine") if asked.series == "peers" else ("verdict", "cause")
    for key in keys:
        values = [str(row.get(key)) for row in rows]
        print(key, {value: values.count(value) for value in sorted(set(values))}, "of", len(rows))


if __name__ == "__main__":
    main()
