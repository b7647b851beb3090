"""
Question: my program is slow. Which function is it, and who calls it?

Run: `python recipes/find_the_slow_function.py`. It records recipes/programs/word_ladder.py, a search for word ladders, by samples.

Read the answer: the table of `proftool show` is sorted by *self*, the time in a function's own lines. First comes the generator
inside of `differ_by_one`, not the search that one would suspect: the comparison of two words is cheap and done far too often.
`--by callers` says who asks for it, and `ladder.html`, opened in a browser, shows the same as a flame graph. The cure is a
dictionary of neighbours by pattern (`_old`, `c_ld`, …), not a faster comparison.

Clean up: `proftool rm ladder`, and remove `ladder.html`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "programs" / "word_ladder.py"


def proftool(*words: str) -> str:
    """Run proftool; what it wrote on stdout. Its talk goes to the terminal."""
    return subprocess.run([sys.executable, "-m", "proftool", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    print(proftool("run", "--label", "ladder", "-o", "ladder.html", str(PROGRAM), "600"))
    print(proftool("show", "ladder", "--limit", "5"))
    print(proftool("show", "ladder", "--by", "callers", "--function", "differ_by_one"))

    shown = json.loads(proftool("show", "ladder", "--json"))
    slowest = max(shown["functions"], key=lambda function: function["self"].get("wall_time", 0))
    assert slowest["name"].startswith("differ_by_one"), slowest["name"]
    assert Path("ladder.html").stat().st_size > 10_000
    print(f"The slow function is {slowest['name']}; ladder.html shows it.")


if __name__ == "__main__":
    main()
