"""What following the advice gives: the pairs of tests/insights/effects.py by `proftool ab --bench`, sides in turn, a fresh process a value.

    python tests/perf/advice.py [RULE…]    a row of Markdown for each rule and shape, on stdout

The factor is time before through time after with its interval; docs/pages/explanation/insights.md and the rules' `effect` say the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

EFFECTS = Path(__file__).parent.parent / "insights" / "effects.py"


def main() -> None:
    sys.path.insert(0, str(EFFECTS.parent))
    from effects import NAMES_OF  # type: ignore[import-not-found]

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "bench_advice.py").write_text(EFFECTS.read_text())
        (root / "pyproject.toml").write_text("")
        own = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "both sides"]):
            subprocess.run([*own, *words], cwd=root, check=True)
        what = ["--bench", "--base-env", "SIDE=before", "--new-env", "SIDE=after", "--pairs", "10", "--json", "--", "bench_advice.py"]
        env = {name: value for name, value in os.environ.items() if not name.startswith("PROFTOOL")}
        env |= {"SIDE": "before", "RULES": " ".join(sys.argv[1:])}
        words = [sys.executable, "-m", "proftool", "ab", "HEAD", "HEAD", *what]
        done = subprocess.run(words, cwd=root, env=env, stdout=subprocess.PIPE, text=True)
    told = json.loads(done.stdout)
    print(f"null control: {told['null_control']}", file=sys.stderr)
    print("| rule | shape | before | factor | interval |\n|---|---|--:|--:|---|")
    for one in told["benchmarks"]:
        rule, shape = NAMES_OF[one["name"].rpartition(":")[2].rpartition("::")[2]]
        ratio = one["ratio"]
        if ratio is None:
            print(f"| {rule} | {shape} | | not measured | |")
            continue
        low, high = 1 / ratio["high"], 1 / ratio["low"]
        before = one["base"]["median"]
        print(f"| {rule} | {shape} | {before} {one['unit']} | {1 / ratio['estimate']:.3g} | {low:.3g}–{high:.3g} |")


if __name__ == "__main__":
    main()
