"""Where proftool's words end and the target's begin."""

import pytest

from proftool.cli.split import split

VERBS = ("run", "show", "ab")
VALUED = frozenset({"--label", "-o", "--mode", "-m", "-c"})


@pytest.mark.parametrize(
    ("typed", "own"),
    [
        ("run app.py --label x", "run -- app.py --label x"),
        ("run --label x app.py -q", "run --label x -- app.py -q"),
        ("run --label=x app.py --debug", "run --label=x -- app.py --debug"),
        ("run -m pytest --label x -q", "run -m pytest -- --label x -q"),
        ("run -mpytest -q", "run -m pytest -- -q"),
        ("run --mode trace -c pass -- a", "run --mode trace -c pass -- -- a"),
        ("run -- -odd.py --json", "run -- -odd.py --json"),
        ("run --open app.py --json", "run --open -- app.py --json"),
        ("app.py --label x", "run -- app.py --label x"),
        ("--mode trace app.py", "run --mode trace -- app.py"),
        ("show --json x", "show --json x"),
    ],
)
def test_the_targets_words_stand_behind_the_dashes(typed: str, own: str) -> None:
    """All that follows -m M, -c C, the first word that is no option, or -- is the target's."""
    assert " ".join(split(typed.split(), VERBS, VALUED).own) == own


def test_words_behind_the_dashes_of_other_verbs_are_kept_apart() -> None:
    """`ab main -- python prog.py -- x` hands the command over untouched."""
    words = split(["ab", "main", "--", "python", "prog.py", "--", "x"], VERBS, VALUED)
    assert words.own == ("ab", "main")
    assert words.after == ("python", "prog.py", "--", "x")


def test_debug_is_ours_before_the_target_only() -> None:
    """`--debug` behind the script belongs to the script."""
    assert split(["run", "--debug", "app.py"], VERBS, VALUED).debug
    assert not split(["run", "app.py", "--debug"], VERBS, VALUED).debug
