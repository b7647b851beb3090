"""Functions across a refactor: moved, renamed and wrapped ones are found again, strangers are not joined."""

from __future__ import annotations

from model.sides import by_name

from proftool.model.builder import ProfileBuilder
from proftool.model.compare import diff
from proftool.model.diff import Verdict
from proftool.model.profile import WALL_TIME, Category, Profile

Row = tuple[str, str, str, int]
"""Module, qualified name, code hash, first line."""


def program(*rows: Row, category: Category = Category.PROJECT, wrapped_by: str = "") -> Profile:
    """Each function with 100 ms of its own, below `main`."""
    builder = ProfileBuilder([WALL_TIME])
    lane = builder.lane()
    parent = builder.node(-1, builder.frame(builder.function("main", module="app", file="app.py", category=Category.PROJECT)))
    if wrapped_by:
        parent = builder.node(parent, builder.frame(builder.function(wrapped_by, module="deco", file="deco.py", category=Category.PROJECT)))
    for module, name, code, line in rows:
        function = builder.function(name, module=module, file=module + ".py", first_line=line, code_hash=code, category=category)
        builder.add(builder.node(parent, builder.frame(function, line)), lane, 0, 100_000_000)
    return builder.build()


BASE = program(("app", "encode", "c1", 10), ("app", "parse", "c2", 20))


def verdicts(new: Profile, base: Profile = BASE) -> dict[str, Verdict]:
    """Of every function that holds time."""
    return {name: c.verdict for name, c in by_name(diff([base], [new])).items() if c.base_self or c.new_self}


def test_shifted_lines_do_not_matter() -> None:
    """The same functions forty lines further down are the same."""
    assert set(verdicts(program(("app", "encode", "c1", 50), ("app", "parse", "c2", 60))).values()) == {Verdict.SAME}


def test_function_in_another_module_is_moved() -> None:
    """Moved with its code, and moved with its code edited."""
    for code in ("c1", "other"):
        answer = diff([BASE], [program(("codec", "encode", code, 1), ("app", "parse", "c2", 20))])
        encode = by_name(answer)["encode"]
        assert encode.verdict is Verdict.MOVED
        assert encode.moved_from == "app:encode"
        assert encode.delta_self == 0


def test_renamed_function_is_moved() -> None:
    """Another name, the same code."""
    assert verdicts(program(("app", "to_bytes", "c1", 10), ("app", "parse", "c2", 20)))["to_bytes"] is Verdict.MOVED


def test_renamed_file_moves_all_its_functions() -> None:
    """Every function of the file is moved, none is new or gone."""
    assert verdicts(program(("core", "encode", "c1", 10), ("core", "parse", "c2", 20))) == {"encode": Verdict.MOVED, "parse": Verdict.MOVED}


def test_decorated_function_keeps_its_identity() -> None:
    """A wrapper between caller and function makes neither slower nor faster, nor new."""
    found = verdicts(program(("app", "encode", "c1", 11), ("app", "parse", "c2", 21), wrapped_by="deco.<locals>.wrapper"))
    assert set(found.values()) == {Verdict.SAME}


def test_two_candidates_are_not_guessed_between() -> None:
    """Where two new functions have the code of the lost one, none of them is it."""
    answer = diff([BASE], [program(("a", "one", "c1", 1), ("b", "two", "c1", 1), ("app", "parse", "c2", 20))])
    assert {name for name, c in by_name(answer).items() if c.moved_from} == set()


def test_strangers_of_the_standard_library_are_not_joined() -> None:
    """A sampler meets other functions of the library in every run; equal names are no move."""
    base = program(("json.decoder", "__init__", "", 3), category=Category.STDLIB)
    new = program(("re._parser", "__init__", "", 9), category=Category.STDLIB)
    assert {c.moved_from for c in diff([base], [new]).functions} == {None}
