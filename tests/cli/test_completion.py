"""Completion: what is offered where, and that real shells offer it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shutil import which

import pexpect
import pytest
from cli.command import Project

from proftool.cli import shells
from proftool.cli.app import VERBS
from proftool.cli.complete import complete
from proftool.model import profile

DEADLINE_S = 60


@pytest.fixture
def known(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with two runs, one of them labelled; the test stands in it."""
    project.write("prog.py", "sum(range(100_000))")
    for words in (["--label", "before fix"], []):
        assert project.proftool("run", "-q", "--backend", "cprofile", *words, "prog.py").status == 0
    monkeypatch.chdir(project.root)
    for name in [name for name in os.environ if name.startswith("PROFTOOL")]:
        monkeypatch.delenv(name)
    return project


def offered(*words: str) -> list[str]:
    return [one.value for one in complete(words, Path.cwd()).words]


def test_every_verb_and_a_file_may_stand_first() -> None:
    """`proftool app.py` means run, so files are offered too."""
    assert offered("") == [verb for verb, _ in VERBS]
    assert complete([""], Path.cwd()).files
    assert offered("di") == ["diff"]


def test_a_verb_of_verbs_offers_these() -> None:
    """`proftool fleet fl`, and the options of what it means."""
    assert offered("fleet", "fl") == ["flame"]
    assert "--json" in offered("fleet", "flame", "--j")


def test_options_of_a_verb_are_the_parsers_own() -> None:
    """Each with what it does; of `run` also where no verb was typed."""
    assert {"--by", "--function", "--metric", "--limit", "--json"} <= set(offered("show", "-"))
    assert offered("show", "--li") == ["--limit"]
    assert {"--mode", "--label", "--version"} <= set(offered("--"))
    assert all(one.told for one in complete(["run", "--"], Path.cwd()).words)


@pytest.mark.parametrize("form", [["--mode", "m"], ["--mode=m"]])
def test_values_that_are_a_list_are_offered(form: list[str]) -> None:
    """Behind the option, and behind its equals sign."""
    assert [word.removeprefix("--mode=") for word in offered("run", *form)] == ["memory"]


def test_every_listed_value_is_one_that_the_verb_takes(known: Project) -> None:
    """A list that fell behind the code would offer what is refused, or hide what is taken."""
    for by in offered("show", "--by", ""):
        assert known.proftool("show", "--by", by, "--function", "<module>").status == 0, by
    for name in offered("export", "-f", ""):
        done = known.proftool("export", "@latest", "-f", name, "-o", f"run.{name}")
        assert done.status == 0 or "cannot hold" in done.err or "nothing" in done.err, done.err
    metrics = {value.name for value in vars(profile).values() if isinstance(value, profile.Metric)}
    assert set(offered("show", "--metric", "")) <= metrics


def test_runs_are_offered_by_label_id_and_age(known: Project) -> None:
    """Labels first, then @latest, then ids; a place for a label takes labels alone."""
    words = offered("show", "")
    ids = [run["id"] for run in known.proftool("list", "--json").json["runs"]]
    assert words == ["before fix", "@latest", "@latest~1", *ids]
    assert offered("diff", "@latest~1", ids[0][:4]) == [ids[0]]
    assert offered("label", ids[0], "") == ["before fix"]
    assert offered("run", "--label", "") == ["before fix"]
    assert offered("show", "@latest", "") == []
    assert offered("rm", ids[0], ids[1][:5]) == [ids[1]]


def test_revisions_are_offered_where_a_verb_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ab`, `bisect` and `run --against`: branches and tags."""
    own = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q", "-b", "trunk"], ["commit", "-q", "--allow-empty", "-m", "x"], ["tag", "v1"]):
        subprocess.run([*own, *words], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    assert set(offered("ab", "")) == {"HEAD", "trunk", "v1"}
    assert offered("run", "--against", "v") == ["v1"]


def test_the_targets_own_words_are_files() -> None:
    """Behind the program's name proftool knows nothing."""
    for words in (["run", "app.py", "--"], ["run", "-m", "json.tool", ""], ["app.py", ""], ["ab", "main", "--", ""]):
        found = complete(words, Path.cwd())
        assert found.files
        assert not found.words


def test_a_key_pressed_writes_nothing_and_never_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No store, a damaged one, a setting that is wrong: nothing is offered, nothing is said, no file appears."""
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    assert offered("show", "") == []
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]
    (tmp_path / ".proftool").mkdir()
    (tmp_path / ".proftool" / "runs.db").write_bytes(b"no database" * 100)
    assert offered("show", "") == []
    (tmp_path / "pyproject.toml").write_text("[tool.proftool]\nstore_size = 'much'\n")
    assert offered("show", "") == []


def test_a_teams_store_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is pressed waits for no server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROFTOOL_STORE", "postgresql://nobody@192.0.2.1/none")
    assert offered("show", "") == []


@pytest.mark.parametrize("shell", sorted(shells.SCRIPTS))
def test_installing_twice_leaves_one_line(project: Project, shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script is written; what the start-up file held before is kept."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    start = {"bash": home / ".bashrc", "zsh": home / ".zshrc"}.get(shell)
    if start is not None:
        start.write_text("mine=1")
    for _ in range(2):
        assert project.proftool("--install-completion", shell).status == 0
    written = [path for path in home.rglob("proftool.*") if path.is_file()]
    assert [path.read_text() for path in written] == [project.proftool("--show-completion", shell).out]
    if start is not None:
        lines = start.read_text().splitlines()
        assert lines[0] == "mine=1"
        assert len(lines) == 2


def test_a_shell_that_is_not_known_is_refused(project: Project) -> None:
    """Status 2, with those that are."""
    done = project.proftool("--show-completion", "tcsh")
    assert done.status == 2
    assert "bash" in done.err


def in_path(project: Project) -> dict[str, str]:
    """An environment in which the shell finds `proftool`."""
    tools = project.root / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "proftool").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m proftool "$@"\n')
    (tools / "proftool").chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PROFTOOL")}
    return kept | {"PATH": f"{tools}:{os.environ['PATH']}", "TERM": "dumb", "HOME": str(project.root), "PS1": "$ "}


BASH = """
source <(proftool --show-completion bash)
ask() {
    COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2))
    compopt() { :; }
    _proftool proftool "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
    printf '%s|' "${COMPREPLY[@]}"; echo
}
ask 'proftool sh' proftool sh
ask 'proftool show bef' proftool show bef
ask 'proftool show @latest~' proftool show @ latest~
ask 'proftool run --mode=tr' proftool run --mode = tr
ask 'X=1 proftool show --by mod' proftool show --by mod
"""


def test_bash_completes(known: Project) -> None:
    """The script in a real bash: blanks are escaped, and what bash breaks at `@` and `=` fits behind the break."""
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH], cwd=known.root, env=in_path(known), capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert done.stdout.splitlines() == ["show|", r"before\ fix|", "latest~1|", "trace|", "module|"], done.stderr


def test_a_key_pressed_in_bash_completes_the_word(known: Project) -> None:
    """A terminal, a Tab, the finished word, and the command runs with it."""
    shell = pexpect.spawn("bash", ["--norc", "--noprofile", "-i"], cwd=known.root, env=in_path(known), encoding="utf-8", timeout=DEADLINE_S)
    try:
        shell.sendline("source <(proftool --show-completion bash); echo rea''dy")
        shell.expect("ready")
        shell.send("proftool show @latest~\t")
        shell.expect_exact("@latest~1")
        shell.send(" --by mod\t")
        shell.expect_exact("module")
        shell.sendline("")
        shell.expect("before fix|cprofile|wall_time")
    finally:
        shell.close(force=True)


@pytest.mark.parametrize(
    ("shell", "probe"),
    [
        ("fish", "source (proftool --show-completion fish | psub); complete -C 'proftool show bef'; complete -C 'proftool run --mode tr'"),
        (
            "zsh",
            "autoload -Uz compinit; compinit -u -D; source <(proftool --show-completion zsh); "
            "compadd() { print -r -- ${(P)@[-1]} }; _files() { : }; "
            "words=(proftool show bef); CURRENT=3; _proftool; words=(proftool run --mode tr); CURRENT=4; _proftool",
        ),
    ],
)
def test_zsh_and_fish_complete(known: Project, shell: str, probe: str) -> None:
    """Their scripts in the real shells."""
    if which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    words = ["zsh", "-f", "-c", probe] if shell == "zsh" else ["fish", "--no-config", "-c", probe]
    done = subprocess.run(words, cwd=known.root, env=in_path(known), capture_output=True, text=True, timeout=DEADLINE_S)
    assert "before" in done.stdout.splitlines()[0], done.stdout + done.stderr
    assert done.stdout.splitlines()[1].split("\t")[0] == "trace", done.stdout + done.stderr
