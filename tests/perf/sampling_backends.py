"""Which sampling backend should be the default? Overhead, threads, children and fidelity of each, on programs with known answers.

Run: `python tests/perf/sampling_backends.py [ROUNDS]`. Prints a table; docs/decisions/0002-default-sampling-backend.md keeps one.
Every figure is a median over interleaved rounds, each backend at its own default rate. Overhead is the target's wall and CPU time over
the bare program's, the interpreter's start-up taken off both; what a backend adds to the start-up counts as its own.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from proftool import registry
from proftool.contracts import Mode, Program, Recording, RecordOptions
from proftool.launch.start import launch
from proftool.model.profile import Profile
from proftool.model.tree import function_total, lane_total

BACKENDS = ("py-spy", "pyinstrument")
WORK = """
def hot(n):
    total = 0
    for i in range(n): total += i % 7
    return total
def warm(n):
    total = 0
    for i in range(n): total += i % 7
    return total
def calls(n):
    return n if n < 2 else calls(n - 1) + calls(n - 2)
"""
PROGRAMS = {
    "loops": WORK + "hot(18_000_000); warm(6_000_000)\n",
    "calls": WORK + "calls(31)\n",
    "deep": WORK + "def down(n): return down(n - 1) if n else hot(15_000_000)\ndown(900)\n",
    "nap": "import time\n" + WORK + "def nap(): time.sleep(1.5)\nnap(); hot(8_000_000)\n",
    "threads": "import threading\n" + WORK + "def go(): hot(3_000_000)\n"
    "ts = [threading.Thread(target=go, name=f'spinner-{i}') for i in range(8)]\n"
    "[t.start() for t in ts]; [t.join() for t in ts]\n",
    "raw threads": "import _thread, time\n" + WORK + "done = []\ndef go(): hot(6_000_000); done.append(1)\n"
    "[_thread.start_new_thread(go, ()) for _ in range(2)]\nwhile len(done) < 2: time.sleep(0.01)\n",
    "children": "import subprocess, sys, os\n" + WORK + "if len(sys.argv) < 2:\n    subprocess.run([sys.executable, __file__, 'x'])\n"
    "    pid = os.fork()\n    hot(4_000_000)\n    os.waitpid(pid, 0) if pid else os._exit(0)\nelse: hot(4_000_000)\n",
}  # fmt: skip


def bare(*words: str) -> tuple[float, float]:
    """Wall and CPU seconds of Python with these words."""
    begin = time.monotonic()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return time.monotonic() - begin, usage.ru_utime + usage.ru_stime


def recorded(backend_name: str, script: Path) -> tuple[Recording, Profile]:
    """One recording at the backend's own rate."""
    backend = registry.backend(backend_name)
    program = Program(python=Path(sys.executable), script=str(script))
    options = RecordOptions(mode=Mode.SAMPLE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = launch(program, backend.command(program, options, folder), options, folder, stdout=2)
        return recording, backend.read(recording)


def seconds(profile: Profile, metric: str, function: str) -> float:
    """Total of a function of the program."""
    values = function_total(profile, profile.metric_index(metric))
    return sum(int(values[i]) for i in range(len(values)) if profile.text(int(profile.functions.qualname[i])) == function) / 1e9


def answer(name: str, profile: Profile) -> str:
    """What the backend says where the truth is known."""
    f = profile.functions
    names = {profile.text(int(q)) for q in f.qualname}
    match name:
        case "loops":
            return f"hot : warm = {seconds(profile, 'wall_time', 'hot') / max(seconds(profile, 'wall_time', 'warm'), 1e-9):.2f} (3.00)"
        case "deep":
            return "900 frames kept" if profile.nodes.parent.size > 900 and "down" in names else "cut"
        case "nap":
            return f"nap {seconds(profile, 'wall_time', 'nap'):.2f} s, waiting {seconds(profile, 'waiting_time', 'nap'):.2f} s (1.50)"
        case "threads":
            named = sum(profile.text(int(n)).startswith("spinner-") for n in profile.lanes.thread_name)
            return f"{named} of 8 by name"
        case "raw threads":
            totals = lane_total(profile, profile.metric_index("wall_time"))
            return f"{sum(int(t) > 10**8 for t in totals) - 1} of 2"
        case "children":
            return f"{len(set(profile.lanes.pid.tolist())) - 1} of 2"
        case _:
            return f"{int(profile.meta.passes[0].samples or 0)} samples"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {rounds} rounds")
    print("| program | backend | wall | CPU | answer (truth) |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for program, text in PROGRAMS.items():
            script = Path(name) / f"{program.replace(' ', '_')}.py"
            script.write_text(text)
            under: dict[str, list[tuple[float, float, str]]] = {backend: [] for backend in BACKENDS}
            for _ in range(rounds):
                (wall, cpu), (start_wall, start_cpu) = bare(str(script)), bare("-c", "pass")
                for backend in BACKENDS:
                    recording, profile = recorded(backend, script)
                    # A target that waited at the gate had started up before its time began.
                    took = recording.duration_ns / 1e9 - (start_wall if backend == "pyinstrument" else 0)
                    spent = (recording.cpu_ns or 0) / 1e9 - start_cpu
                    under[backend].append((took / (wall - start_wall), spent / max(cpu - start_cpu, 1e-9), answer(program, profile)))
            for backend in BACKENDS:
                took, spent = (statistics.median(row[i] for row in under[backend]) for i in (0, 1))
                print(f"| {program} | {backend} | {took:.2f} | {spent:.2f} | {under[backend][-1][2]} |", flush=True)


if __name__ == "__main__":
    main()
