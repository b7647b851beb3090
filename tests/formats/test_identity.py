"""Functions get the names that the interpreter itself would give them."""

from __future__ import annotations

import inspect
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from proftool.formats.identity import Identifier, builtin
from proftool.model.builder import ProfileBuilder
from proftool.model.profile import SAMPLES, Category, Identified, Kind

SHAPES = """\
import functools


def deco(f):
    @functools.wraps(f)
    def wrapper(*a):
        return f(*a)
    return wrapper


class First:
    size = [i for i in range(3)]

    def run(self):
        return 1

    @property
    def x(self):
        return 1

    @x.setter
    def x(self, value):
        self._x = value

    class Inner:
        def run(self):
            return lambda: 2


class Second:
    def run(self):
        return 1


@deco
@deco
def decorated(
    a=1,
):
    return a


def outer():
    def inner():
        return 1

    async def waits():
        return sum(i for i in range(3))
    return inner, waits


if deco:
    def twice():
        return 1
else:
    def twice():
        return 2

pair = lambda: 1, lambda: 2
long = lambda: (
    3
)
try:
    with open(__file__):
        match 1:
            case 1:
                def deep():
                    def deep():
                        return 1
                    return deep
finally:
    pass
"""


def code_objects(code: types.CodeType) -> Iterator[types.CodeType]:
    """All code objects, outer first."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from code_objects(constant)


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """A project with one module of every shape of function."""
    path = tmp_path / "shop" / "shapes.py"
    path.parent.mkdir()
    path.write_text(SHAPES)
    return path


def standard_library() -> list[str]:
    """Files of very different authors and ages."""
    return [
        inspect.getsourcefile(module) or ""
        for module in (inspect, os, types, sys.modules["typing"], sys.modules["dataclasses"], sys.modules["argparse"])
    ]


def test_first_lines_give_the_interpreters_own_qualified_names(shapes: Path) -> None:
    """(file, co_firstlineno, co_name) gives co_qualname for every code object, or nothing where two share all three."""
    for file in [str(shapes), *standard_library()]:
        identifier = Identifier(shapes.parent.parent)
        for code in code_objects(compile(Path(file).read_bytes(), file, "exec")):
            got = identifier.identify(file=file, line=None, name=code.co_name, first_line=code.co_firstlineno)
            assert got.qualname == code.co_qualname or got.identified is Identified.BARE
            if not code.co_name.startswith("<"):
                assert got.identified is Identified.SOURCE


def test_executing_lines_give_the_interpreters_own_qualified_names(shapes: Path) -> None:
    """Every line that a code object can run leads to its qualified name; a guess is never made."""
    bare = total = 0
    for file in [str(shapes), *standard_library()]:
        identifier = Identifier(shapes.parent.parent)
        for code in code_objects(compile(Path(file).read_bytes(), file, "exec")):
            for line in {line for _, _, line in code.co_lines() if line}:
                got = identifier.identify(file=file, line=line, name=code.co_name)
                total += 1
                bare += got.identified is Identified.BARE
                assert got.qualname == code.co_qualname or got.identified is Identified.BARE, (file, line)
    assert bare / total < 0.002


def test_functions_of_one_name_stay_apart(shapes: Path) -> None:
    """Methods, properties with setters, nested and redefined functions are rows of their own."""
    identifier, builder = Identifier(shapes.parent.parent), ProfileBuilder((SAMPLES,))
    codes = [c for c in code_objects(compile(SHAPES, str(shapes), "exec")) if c.co_name not in ("<module>", "<lambda>")]
    rows = [identifier.function(builder, file=str(shapes), line=None, name=c.co_name, first_line=c.co_firstlineno) for c in codes]
    assert len(set(rows)) == len(codes)
    again = [
        identifier.function(builder, file=str(shapes), line=c.co_firstlineno + 1, name=c.co_name)
        for c in codes
        if c.co_name in ("run", "inner")
    ]
    assert set(again) <= set(rows)


def test_two_lambdas_of_a_line_have_a_name_but_no_hash(shapes: Path) -> None:
    """What no tool can tell apart is named as far as it is known and claims no code."""
    identifier = Identifier(shapes.parent.parent)
    line = SHAPES.splitlines().index("pair = lambda: 1, lambda: 2") + 1
    got = identifier.identify(file=str(shapes), line=line, name="<lambda>", first_line=line)
    assert (got.qualname, got.identified, got.code_hash, got.first_line) == ("<lambda>", Identified.SOURCE, "", line)
    other = identifier.identify(file=str(shapes), line=line + 2, name="<lambda>", first_line=line + 1)
    assert other.code_hash
    assert other.first_line == line + 1


def test_first_line_is_that_of_def(shapes: Path) -> None:
    """Decorators lie above the line where people look."""
    at = SHAPES.splitlines().index("def decorated(") + 1
    got = Identifier(shapes.parent.parent).identify(file=str(shapes), line=None, name="decorated", first_line=at - 2)
    assert got.first_line == at


def test_moved_and_renamed_functions_keep_their_hash(tmp_path: Path) -> None:
    """The hash is that of what the code does: not of name, lines, comments, docstring, annotations or decorators."""
    (tmp_path / "a.py").write_text("def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n\n\ndef other(n):\n    return n\n")
    (tmp_path / "b.py").write_text(
        'import x\n\n\n@x.y\ndef renamed(n: int) -> int:\n    """Doc."""\n    # Why.\n    return n if n < 2 else renamed(n - 1) + renamed(n - 2)\n'  # noqa: E501
    )
    identifier = Identifier(tmp_path)
    fib = identifier.identify(file=str(tmp_path / "a.py"), line=2, name="fib")
    renamed = identifier.identify(file=str(tmp_path / "b.py"), line=8, name="renamed")
    other = identifier.identify(file=str(tmp_path / "a.py"), line=6, name="other")
    assert fib.code_hash == renamed.code_hash != ""
    assert other.code_hash != fib.code_hash


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("return 1", "return 2"),
        ("return 1", "return 1.0"),
        ("return a.b", "return a.c"),
        ("return a + b", "return a - b"),
        ("x = 1", "y = 1"),
    ],
)
def test_any_change_of_code_changes_the_hash(tmp_path: Path, before: str, after: str) -> None:
    """Values, types, attributes, operators and names all count."""
    hashes = set[str]()
    for name, body in (("a", before), ("b", after)):
        (tmp_path / f"{name}.py").write_text(f"def f(a, b):\n    {body}\n")
        hashes.add(Identifier(tmp_path).identify(file=str(tmp_path / f"{name}.py"), line=2, name="f").code_hash)
    assert len(hashes) == 2


def test_methods_calling_themselves_may_be_renamed(tmp_path: Path) -> None:
    """`self.walk` within `walk` is the function itself; another object's `walk` is not."""
    text = "class A:\n    def {0}(self, n):\n        return self.{0}(n - 1) + n.walk()\n"
    hashes = set[str]()
    for name in ("visit", "descend"):
        (tmp_path / f"{name}.py").write_text(text.format(name))
        hashes.add(Identifier(tmp_path).identify(file=str(tmp_path / f"{name}.py"), line=3, name=name).code_hash)
    assert len(hashes) == 1


def test_modules_are_named_by_their_file(tmp_path: Path) -> None:
    """Packages by `__init__.py`, else the path below the root without `src`; a script is the same however it was started."""
    for file in (
        "shop/model.py",
        "src/pack/__init__.py",
        "src/pack/sub/__init__.py",
        "src/pack/sub/mod.py",
        "tools/run.py",
        "pack/__main__.py",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    identifier = Identifier(tmp_path, cwd=tmp_path / "tools")
    names = {
        f: identifier.place(str(tmp_path / f)) for f in ("shop/model.py", "src/pack/sub/mod.py", "src/pack/__init__.py", "pack/__main__.py")
    }
    assert {f: p.module for f, p in names.items()} == {
        "shop/model.py": "shop.model",
        "src/pack/sub/mod.py": "pack.sub.mod",
        "src/pack/__init__.py": "pack",
        "pack/__main__.py": "pack.__main__",
    }
    assert all(p.file == f and p.category is Category.PROJECT for f, p in names.items())
    assert identifier.place("run.py").file == identifier.place(str(tmp_path / "tools/run.py")).file == "tools/run.py"


@pytest.mark.parametrize(
    ("file", "short", "module", "category"),
    [
        ("/v/lib/python3.11/site-packages/a/b.py", "a/b.py", "a.b", Category.LIBRARY),
        ("/p/.venv/lib/python3.11/site-packages/a/__init__.py", "a/__init__.py", "a", Category.LIBRARY),
        ("/usr/lib/python3/dist-packages/yaml/x.py", "yaml/x.py", "yaml.x", Category.LIBRARY),
        ("/usr/lib/python3.12/json/decoder.py", "json/decoder.py", "json.decoder", Category.STDLIB),
        ("/p/env/lib/python3.12/json/decoder.py", "json/decoder.py", "json.decoder", Category.STDLIB),
        ("/usr/lib/python311.zip/os.py", "os.py", "os", Category.STDLIB),
        ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap>", "importlib._bootstrap", Category.STDLIB),
        ("<string>", "<string>", "__main__", Category.PROJECT),
        ("<stdin>", "<stdin>", "__main__", Category.PROJECT),
        ("/tmp/ipykernel_4711/3141592.py", "<ipython-input-3141592>", "__main__", Category.PROJECT),
        ("<ipython-input-7-abc123>", "<ipython-input-abc123>", "__main__", Category.PROJECT),
        ("<attrs generated init a.B>", "<attrs generated init a.B>", "", Category.LIBRARY),
        ("/p/tools/app.pyz/pack/mod.py", "tools/app.pyz/pack/mod.py", "pack.mod", Category.PROJECT),
        ("/elsewhere/x.py", "/elsewhere/x.py", "x", Category.LIBRARY),
        ("C:\\Py\\Lib\\json\\decoder.py", "json/decoder.py", "json.decoder", Category.STDLIB),
    ],
)
def test_places(file: str, short: str, module: str, category: Category) -> None:
    """Where files of every sort belong, with a project at /p."""
    place = Identifier(Path("/p"), sources=False).place(file)
    assert (place.file, place.module, place.category) == (short, module, category)


def test_code_given_on_the_command_line_is_looked_into() -> None:
    """`-c` has no file, but its text is known."""
    identifier = Identifier(texts={"<string>": "class A:\n    def f(self):\n        return 1\n"})
    got = identifier.identify(file="<string>", line=3, name="f")
    assert (got.qualname, got.identified, got.module) == ("A.f", Identified.SOURCE, "__main__")
    generated = identifier.identify(file="<string>", line=2, name="__init__")
    assert (generated.qualname, generated.identified) == ("__init__", Identified.BARE)


def test_zipped_sources_are_looked_into(tmp_path: Path) -> None:
    """A program that runs from a zip file has its sources in there."""
    import zipfile

    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.writestr("pack/mod.py", "class A:\n    def f(self):\n        pass\n")
    got = Identifier(tmp_path).identify(file=str(tmp_path / "app.pyz/pack/mod.py"), line=3, name="f")
    assert (got.qualname, got.file, got.module) == ("A.f", "app.pyz/pack/mod.py", "pack.mod")


def test_without_source_bare_names_stay_apart_by_line() -> None:
    """Two methods of one bare name are never taken for one, and the row says how little is known."""
    identifier, builder = Identifier(sources=False), ProfileBuilder((SAMPLES,))
    first = identifier.function(builder, file="/x/a.py", line=10, name="run")
    second = identifier.function(builder, file="/x/a.py", line=30, name="run")
    assert first != second
    assert identifier.identify(file="/x/a.py", line=10, name="run").identified is Identified.BARE
    by_tool = {identifier.function(builder, file="/x/a.py", line=line, name="run", qualname="A.run") for line in (10, 11)}
    assert len(by_tool) == 1


def test_changed_source_is_not_believed(tmp_path: Path) -> None:
    """Where the file no longer has that function at that line, the tool's name stands."""
    (tmp_path / "a.py").write_text("def g():\n    return 1\n")
    got = Identifier(tmp_path).identify(file=str(tmp_path / "a.py"), line=2, name="f", qualname="A.f")
    assert (got.qualname, got.identified, got.code_hash) == ("A.f", Identified.TOOL, "")


def test_sources_are_read_through_a_root(tmp_path: Path) -> None:
    """A process in a container names files as it sees them."""
    inside = tmp_path / "app" / "pack"
    inside.mkdir(parents=True)
    (inside / "__init__.py").write_text("")
    (inside / "mod.py").write_text("class A:\n    def f(self):\n        pass\n")
    identifier = Identifier(Path("/app"), root=tmp_path)
    got = identifier.identify(file="/app/pack/mod.py", line=3, name="f")
    assert (got.qualname, got.file, got.module) == ("A.f", "pack/mod.py", "pack.mod")
    assert dict(identifier.embed_sources())["pack/mod.py"].startswith("class A")


def test_only_the_projects_own_python_files_are_embedded(tmp_path: Path) -> None:
    """Never `.env`, never what a link leads out to, never a file that no function is in."""
    project, outside = tmp_path / "project", tmp_path / "secret.py"
    project.mkdir()
    outside.write_text("def f():\n    key = 'hunter2'\n")
    (project / "link.py").symlink_to(outside)
    (project / ".env").write_text("KEY=hunter2\n")
    (project / "unused.py").write_text("def f(): pass\n")
    (project / "a.py").write_text("# -*- coding: latin-1 -*-\ndef f():\n    return 'caf\xe9'\n", encoding="latin-1")
    identifier = Identifier(project)
    for file in ("a.py", "link.py", ".env"):
        identifier.identify(file=str(project / file), line=2, name="f")
    identifier.identify(file=str(outside), line=2, name="f")
    assert [file for file, _ in identifier.embed_sources()] == ["a.py"]
    assert "café" in dict(identifier.embed_sources())["a.py"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes in folders")
def test_a_pipe_or_device_in_place_of_source_is_not_opened_for_long(tmp_path: Path) -> None:
    """A recording may name any path; nothing but a regular file is read."""
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "zero.py").symlink_to("/dev/zero")
    (tmp_path / "deep.py").write_text("(" * 5000)
    (tmp_path / "nul.py").write_bytes(b"\0")
    (tmp_path / "minus.py").write_text("x = " + "-" * 50_000 + "1")
    identifier = Identifier(tmp_path)
    for name in ("pipe.py", "zero.py", "deep.py", "nul.py", "minus.py", "missing.py", "\0.py", "a" * 5000 + ".py"):
        assert identifier.identify(file=str(tmp_path / name), line=2, name="f").identified is Identified.BARE


@pytest.mark.parametrize(
    ("name", "module", "qualname"),
    [
        ("<built-in method time.sleep>", "time", "sleep"),
        ("<built-in method builtins.exec>", "builtins", "exec"),
        ("{built-in method builtins.exec}", "builtins", "exec"),
        ("<method 'append' of 'list' objects>", "builtins", "list.append"),
        ("<method 'acquire' of '_thread.lock' objects>", "builtins", "_thread.lock.acquire"),
        ("<built-in method __new__ of type object at 0x9d1ee0>", "builtins", "type.__new__"),
        ("sleep", "", "sleep"),
    ],
)
def test_functions_without_source(name: str, module: str, qualname: str) -> None:
    """The interpreter's own spelling is taken apart; addresses, which differ from run to run, go."""
    got = builtin(name)
    assert (got.module, got.qualname, got.kind, got.category) == (module, qualname, Kind.BUILTIN, Category.NATIVE)
