"""`run` without the parser: the same options, the same meaning, and everything unusual left to the parser."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from proftool.cli import direct
from proftool.cli.app import VERBS, main
from proftool.cli.parser import command
from proftool.cli.recording import Asked
from proftool.cli.run import run
from proftool.cli.split import split

LINES = [
    "app.py --label x -q",
    "--backend memray app.py",
    "--mode sample --mode memory --runs 3 --label 'a' app.py",
    "--rate 99.5 --clock cpu --no-children --native app.py x",
    "--children --python /usr/bin/python3 -o out.html --open --json --quiet -m package.module -q --label none",
    "--output=out.md --label=name --rate=7 -- python -X dev app.py",
    "-c pass",
    "-mpackage --backend none",
    "-q app.py",
    "",
]


def parsed(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the parser makes of the words."""
    found: list[Asked] = []
    monkeypatch.setattr("proftool.cli.run.run_program", lambda asked: found.append(asked) or 0)  # type: ignore[func-returns-value]
    command([row for row in VERBS if row[0] == "run"]).main(args=["run", *words], prog_name="proftool", standalone_mode=False)
    return found[0]


@pytest.mark.parametrize("line", LINES)
def test_plain_words_mean_what_the_parser_says(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option, alone and repeated, with `=` and without."""
    words = split(["run", *line.replace("'", "").split()], [verb for verb, _ in VERBS], direct.VALUES).own[1:]
    asked = direct.read(words)
    assert asked is not None
    assert asked == parsed(words, monkeypatch)


def test_the_tables_are_the_parsers_options() -> None:
    """No option of `run` is missing here, none is here that it has not, and each goes to the same parameter with the same default."""
    options = {
        name: option
        for option in command([row for row in VERBS if row[0] == "run"]).commands["run"].params
        for name in (*option.opts, *option.secondary_opts)
        if name.startswith("-") and name not in ("-h", "--help")
    }
    assert set(options) == {*direct.VALUES, *direct.FLAGS}
    for name, option in options.items():
        assert option.name == (direct.VALUES.get(name) or direct.FLAGS[name])[0]
        assert getattr(option, "is_flag", False) == (name in direct.FLAGS)
    assert {option.name for option in options.values() if option.multiple} == set(direct.REPEATED)
    defaults = {name: parameter.default for name, parameter in inspect.signature(run).parameters.items()}
    assert {name: value or None for name, value in defaults.items()} == {name: getattr(Asked(), name) or None for name in defaults}


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--rate", "fast", "--", "app.py"],
        ["--rate", "1e3", "--", "app.py"],
        ["--runs", "-1", "--", "app.py"],
        ["--runs", "two"],
        ["--label"],
        ["--label", "", "--", "app.py"],
        ["--label", "--open", "--", "app.py"],
        ["-qo", "x"],
        ["-oname"],
        ["--nope"],
        ["--native=1"],
        ["--lab", "x"],
    ],
)
def test_what_is_not_plain_is_the_parsers(words: list[str]) -> None:
    """Mistakes, help and rare spellings."""
    assert direct.read(words) is None


def test_a_mistake_is_told_in_the_parsers_words(capsys: pytest.CaptureFixture[str]) -> None:
    """With the nearest right option."""
    assert main(["run", "--lable", "x", "app.py"]) == 2
    told = capsys.readouterr().err
    assert "no such option: --lable" in told
    assert "--label" in told


def test_paths_are_paths() -> None:
    """As the verbs take them."""
    asked = direct.read(["-o", "a/b.html", "--python", "/usr/bin/python3"])
    assert asked is not None
    assert (asked.out, asked.python) == (Path("a/b.html"), Path("/usr/bin/python3"))
