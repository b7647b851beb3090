"""
Question: how do my colleagues and I, and our CI, look at the same runs?

Run: `TEAM_STORE=postgresql://user@host/runs TEAM_BLOBS=s3://bucket/profiles python recipes/postgresql_and_s3.py`, with what an S3 client
wants (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL` where it is not Amazon's). The database may be
empty: the first run that arrives makes its tables. Needs `pip install 'proftool[team]'`.

Read the answer: two runs are recorded here, pushed to the team's store, and looked at from another folder, as a colleague does: `list`,
`diff` and `open` take the team's store for their own where `PROFTOOL_STORE` and `PROFTOOL_BLOBS` name it. `pull` brings a run back to a
laptop that goes offline. Ids and labels stay, so a link in a pull request keeps its meaning; what is there already is not copied again.

Clean up: `proftool rm --all team-before team-after` with the two variables set, and remove `cart.py` and the folder `colleague`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

BEFORE = """
def price(items):
    total = 0
    for item in items:
        total += sum(item * part for part in range(40))
    return total

def main():
    for _ in range(300):
        price(range(60))

main()
"""
AFTER = BEFORE.replace("sum(item * part for part in range(40))", "item * 780")


def proftool(*words: str, cwd: Path | None = None, team: bool = False) -> str:
    """Run proftool with this folder's store, or with the team's; its talk goes to the terminal."""
    environment = dict(os.environ)
    if team:
        environment |= {"PROFTOOL_STORE": os.environ["TEAM_STORE"], "PROFTOOL_BLOBS": os.environ["TEAM_BLOBS"]}
    words = (sys.executable, "-m", "proftool", *words)
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, cwd=cwd, env=environment).stdout


def main() -> None:
    if "TEAM_STORE" not in os.environ or "TEAM_BLOBS" not in os.environ:
        sys.exit("name the team's servers first: TEAM_STORE=postgresql://… TEAM_BLOBS=s3://…")

    # 1. On a laptop: two runs, in `.proftool/` of the project.
    for label, text in (("team-before", BEFORE), ("team-after", AFTER)):
        Path("cart.py").write_text(text)
        proftool("run", "--quiet", "--backend", "cprofile", "--label", label, "cart.py")

    # 2. To the team's store. A second push copies nothing.
    where = ("--store", os.environ["TEAM_STORE"], "--blobs", os.environ["TEAM_BLOBS"])
    pushed = proftool("push", "team-before", "team-after", *where).split()
    assert len(pushed) == 2, pushed
    assert proftool("push", "team-before", "team-after", *where) == ""

    # 3. A colleague, in another project, with two variables set.
    colleague = Path("colleague")
    colleague.mkdir(exist_ok=True)
    (colleague / "pyproject.toml").touch()
    runs = json.loads(proftool("list", "--json", cwd=colleague, team=True))["runs"]
    assert set(pushed) <= {run["id"] for run in runs}
    print(proftool("diff", "team-before", "team-after", cwd=colleague, team=True))

    # 4. And back again, for the train: the runs are in the colleague's own `.proftool/` now.
    assert set(proftool("pull", "team-before", *where, cwd=colleague).split()) <= set(pushed)
    own = json.loads(proftool("show", "team-before", "--json", cwd=colleague))
    assert any(function["name"] == "price" for function in own["functions"])
    print(f"{len(pushed)} runs went to the team's store, and one of them came back.")


if __name__ == "__main__":
    main()
