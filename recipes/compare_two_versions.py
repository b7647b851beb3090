"""
Question: did my change make the program faster, or is that noise?

Run: `python recipes/compare_two_versions.py`. It writes two versions of a small program, records each several times, and compares them.

Read the answer: `proftool diff old new` compares all runs of one label with all of the other. The first paragraph says what changed in
words; each row has the change of a function's own time, an interval that holds the true change 95 times of 100, and a verdict.
`unique` is faster, since it no longer looks through a list for every name; functions that did not change are not reported.
`change.html` is the same as a flame graph, and `proftool gate` turns it into an exit status for continuous integration.

Clean up: `proftool rm --all old new`, and remove `version.py` and `change.html`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

OLD = """
def unique(names):
    found = []
    for name in names:
        if name not in found:
            found.append(name)
    return found

def make_names():
    return [f"name {n % 3000}" for n in range(12_000)]

print(len(unique(make_names())))
"""
NEW = OLD.replace(OLD[OLD.index("    found = []") : OLD.index("def make_names")], "    return list(dict.fromkeys(names))\n\n")


def proftool(*words: str, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
    """Run proftool; its talk goes to the terminal."""
    return subprocess.run([sys.executable, "-m", "proftool", *words], check=not may_fail, stdout=subprocess.PIPE, text=True)


def main() -> None:
    for label, text in (("old", OLD), ("new", NEW)):
        Path("version.py").write_text(text)
        proftool("run", "--quiet", "--backend", "cprofile", "--runs", "4", "--label", label, "version.py")

    print(proftool("diff", "old", "new").stdout)
    proftool("diff", "old", "new", "-o", "change.html")

    functions = json.loads(proftool("diff", "old", "new", "--json").stdout)["functions"]
    first = next(function for function in functions if function["name"] == "unique")
    assert first["verdict"] in ("faster", "gone"), first
    assert Path("change.html").stat().st_size > 10_000

    # The other way round it is a regression, and a gate in continuous integration fails: status 1.
    gate = proftool("gate", "new", "old", "--fail-on", "self>20% q<0.05", may_fail=True)
    print(gate.stdout)
    assert gate.returncode == 1, gate.returncode
    print(f"`unique` is {first['verdict']}; going back to the old version would fail the gate.")


if __name__ == "__main__":
    main()
