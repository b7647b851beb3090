"""The workflow for GitHub Actions does what it says: its own shell steps are run here, in a repository with a pull request.

What only GitHub can do is stood in for: `uses` steps and the installation are left out, `gh` is a script that keeps what it is given.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

WORKFLOW = Path(__file__).parent.parent / "recipes" / "github_actions" / "proftool.yml"
OLD = """def transform(n):
    taken = bytes(10 * n)
    return sum(taken[:n])
def parse(n):
    return [str(i) for i in range(n)]
for _ in range(60):
    transform(60_000), parse(10_000)
"""
DEARER = OLD.replace("transform(60_000)", "transform(240_000)")


def run(words: list[str], cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """One process, bounded."""
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=600)  # a busy machine, not a measure


def pull_request(root: Path, program: str, recorder: str) -> dict[str, str]:
    """A repository with a base and a pull request's commit, and the environment of a job on it; `run` has these words more."""
    tools = root.parent / "tools"
    tools.mkdir()
    (tools / "gh").write_text(
        '#!/bin/sh\necho "$@" > "$KEPT/comment.args"\nwhile [ "$1" != --body-file ]; do shift; done\ncp "$2" "$KEPT/comment.md"\n'
    )
    more = f'if [ "$1" = run ]; then shift; set -- run {recorder} "$@"; fi'
    (tools / "proftool").write_text(f'#!/bin/sh\n{more}\nexec "{sys.executable}" -m proftool "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PROFTOOL")}
    env |= {"PATH": f"{tools}:{env['PATH']}", "KEPT": str(tools), "NO_COLOR": "1", "GITHUB_OUTPUT": str(tools / "output")}
    env["GITHUB_STEP_SUMMARY"] = str(tools / "summary")
    own = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    (root / "benchmarks").mkdir()
    (root / "pyproject.toml").write_text("")
    work = root / "benchmarks" / "work.py"
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "base"]):
        work.write_text(OLD)
        assert run([*own, *words], root, env).returncode == 0
    work.write_text(program + "\n# pull request\n")
    assert run([*own, "commit", "-qam", "pull request"], root, env).returncode == 0
    return env


def filled(text: str, values: dict[str, str]) -> str:
    """The text with GitHub's expressions replaced; one that is not known here is a KeyError."""
    return re.sub(r"\$\{\{ (.+?) \}\}", lambda found: values[found[1]], text)


def steps(root: Path, env: dict[str, str]) -> dict[str, int]:
    """Run the shell steps as a runner does, `bash -e`; their statuses by name. A step that fails ends the job."""
    told = yaml.safe_load(WORKFLOW.read_text())
    base = run(["git", "rev-parse", "HEAD~1"], root, env).stdout.strip()
    known = {"github.event.pull_request.base.sha": base, "github.event.pull_request.number": "7", "github.token": "none"}
    done: dict[str, int] = {}
    for step in told["jobs"]["diff"]["steps"]:
        if "run" not in step or step["name"] == "Install":
            continue
        output = Path(env["GITHUB_OUTPUT"])
        outputs = dict(line.split("=", 1) for line in output.read_text().splitlines()) if output.exists() else {}
        values = known | {f"steps.gate.outputs.{name}": value for name, value in outputs.items()}
        own = {name: filled(str(value), values) for name, value in (told["env"] | step.get("env", {})).items()}
        ended = run(["bash", "-e", "-o", "pipefail", "-c", step["run"]], root, env | own)
        done[step["name"]] = ended.returncode
        if ended.returncode:
            print(ended.stderr)
            break
    return done


LAST = "Fail where a function is slower, and where the diff itself failed"
EXACT = "--backend memray"
"""Bytes and not samples: whether ten recordings on a busy machine differ is then no luck."""


def commented(tmp_path: Path, program: str, recorder: str) -> tuple[int, str]:
    """The status of the job's last step, and the comment."""
    root = tmp_path / "checkout"
    root.mkdir()
    done = steps(root, pull_request(root, program, recorder))
    assert list(done)[3] == LAST, done
    comment = (tmp_path / "tools" / "comment.md").read_text()
    assert comment == (tmp_path / "tools" / "summary").read_text()
    assert "pull-request-base" in comment
    assert (tmp_path / "tools" / "comment.args").read_text().startswith("pr comment 7 --edit-last --create-if-none")
    return done[LAST], comment


@pytest.mark.timeout(2400)
@pytest.mark.parametrize(("program", "status"), [(DEARER, 1), (OLD, 0)], ids=["dearer", "same"])
def test_the_workflow_comments_and_fails_only_what_is_dearer(program: str, status: int, tmp_path: Path) -> None:
    """Four times the bytes in one function fails the job and is named in the comment; the same program passes."""
    found, comment = commented(tmp_path, program, EXACT)
    assert found == status, comment
    assert ("more | `benchmarks.work:transform`" in comment) == (status == 1), comment


@pytest.mark.timeout(2400)
def test_the_workflow_runs_with_the_recorder_that_it_names(tmp_path: Path) -> None:
    """Word for word: each step ends, and the job fails where its own comment calls a function slower, and nowhere else."""
    found, comment = commented(tmp_path, DEARER, "")
    assert found == int("slower | `" in comment), comment
