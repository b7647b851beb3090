"""
Question: the memory of my program grows and grows. Which line keeps it, and how does CI stop the next one?

Run: `python recipes/catch_a_leak.py`. It records a small program whose cache has no bound, and the version before it, whose cache had one.

Read the answer: `--metric leaked_bytes` sorts by what was allocated and not given back when the program ended. `fetch` stands first:
it keeps every answer. `--metric peak_bytes` is another question, what was held when the program was at its largest: the work of
`report` is there too, though it gave all of it back. `--by line` names the line. In CI record the base and the change with
`--mode memory`, then `proftool gate leak-base leak --metric leaked_bytes --fail-on 'self>1MB q<0.05'`: status 1 where a function keeps
over 1 MB more than it did, 0 where none does. A program that allocates the same in each run needs two runs a side. `leak.md` is the
comment for the pull request.

Clean up: `proftool rm --all leak leak-base`, and remove `service.py` and `leak.md`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SERVICE = """
CACHE = {}

def fetch(key):
    answer = bytearray(200_000)
    CACHE[key] = answer
    return len(answer)

def report():
    return len(bytearray(30_000_000))

for key in range(100):
    fetch(key)
report()
"""
BOUNDED = SERVICE.replace("    CACHE[key] = answer\n", "    CACHE[key] = answer\n    CACHE.pop(key - 4, None)\n")
RULE = ("--metric", "leaked_bytes", "--fail-on", "self>1MB q<0.05")


def proftool(*words: str, status: int = 0) -> str:
    """Run proftool, which must end with that status; what it wrote on stdout. Its talk goes to the terminal."""
    done = subprocess.run([sys.executable, "-m", "proftool", *words], stdout=subprocess.PIPE, text=True)
    assert done.returncode == status, (words, done.returncode, done.stdout)
    return done.stdout


def main() -> None:
    for label, text in (("leak-base", BOUNDED), ("leak", SERVICE)):
        Path("service.py").write_text(text)
        proftool("run", "--quiet", "--mode", "memory", "--runs", "2", "--label", label, "service.py")
    print(proftool("show", "leak", "--by", "line", "--metric", "leaked_bytes", "--limit", "3"))

    functions = {function["name"]: function for function in json.loads(proftool("show", "leak", "--json"))["functions"]}
    leaked = {name: function["self"].get("leaked_bytes", 0) for name, function in functions.items()}
    assert max(leaked, key=leaked.__getitem__) == "fetch", leaked
    assert leaked["fetch"] >= 100 * 200_000
    assert leaked.get("report", 0) < 1_000_000
    assert functions["report"]["self"]["peak_bytes"] >= 30_000_000

    change = proftool("gate", "leak-base", "leak", *RULE, "-o", "leak.md", status=1)
    assert "fetch" in Path("leak.md").read_text(), change
    proftool("gate", "leak", "leak-base", *RULE, status=0)  # less is kept: nothing fails
    print(f"fetch keeps {leaked['fetch'] / 1e6:.0f} MB; report gave all of its memory back; the gate fails it.")


if __name__ == "__main__":
    main()
