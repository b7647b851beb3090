"""
Question: the memory of my program grows and grows. Which line keeps it?

Run: `python recipes/catch_a_leak.py`. It records a small program whose cache has no bound.

Read the answer: `--metric leaked_bytes` sorts by what was allocated and not given back when the program ended. `fetch` stands first:
it keeps every answer. `--metric peak_bytes` is another question, what was held when the program was at its largest: the work of
`report` is there too, though it gave all of it back. `--by line` names the line.

Clean up: `proftool rm leak`, and remove `service.py`.
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


def proftool(*words: str) -> str:
    """Run proftool; what it wrote on stdout. Its talk goes to the terminal."""
    return subprocess.run([sys.executable, "-m", "proftool", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    Path("service.py").write_text(SERVICE)
    proftool("run", "--mode", "memory", "--label", "leak", "service.py")
    print(proftool("show", "leak", "--by", "line", "--metric", "leaked_bytes", "--limit", "3"))

    functions = {function["name"]: function for function in json.loads(proftool("show", "leak", "--json"))["functions"]}
    leaked = {name: function["self"].get("leaked_bytes", 0) for name, function in functions.items()}
    assert max(leaked, key=leaked.__getitem__) == "fetch", leaked
    assert leaked["fetch"] >= 100 * 200_000
    assert leaked.get("report", 0) < 1_000_000
    assert functions["report"]["self"]["peak_bytes"] >= 30_000_000
    print(f"fetch keeps {leaked['fetch'] / 1e6:.0f} MB; report gave all of its memory back.")


if __name__ == "__main__":
    main()
