"""The one place where functions get their identity: qualified name, module, first line, code hash, category.

Tools name the same method differently: py-spy and memray by executing line, cProfile and pyinstrument by first line, some
with qualified names and most without. All readers come here with what their tool knows, and the source's syntax tree
(`formats/syntax.py`) says the rest. Where there is no source, or it does not have that function at that line (it changed
since), the tool's own name stands and `identified` says so; nothing is guessed.

What is decided here, once:
- `first_line` is the line of `def`, where people look, not that of the first decorator. Where only the tool knows, it is the
  tool's line: the code object's first (a decorator's), or else the executing line, so that two methods of one bare name are
  never taken for one. A bare top-level name at several executing lines is then several functions, and is marked BARE.
- `module` follows from the file, never from `__main__`: the same script is the same module however it was started. Packages
  are found by their `__init__.py`; otherwise it is the path below the project root, without a leading `src`.
- `file` is project-relative with `/`; installed files are relative to their `site-packages`, those of the standard
  library to its folder; others stay absolute.
- Nothing but regular files of at most 8 MiB is ever opened, and sources are embedded only from below the project root.
"""

from __future__ import annotations

import io
import os
import re
import stat
import tokenize
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from proftool.formats.syntax import Source
from proftool.model.profile import Category, Identified, Kind, Profile

MAX_SOURCE_BYTES = 8 << 20
"""Of one source file that is looked into."""
MAX_EMBEDDED_BYTES = 4 << 20
"""Of all sources kept with a run."""

_STDLIB = re.compile(r"(?:^|.*/)(?:lib(?:64)?/(?:python|pypy)\d[\w.]*|Lib|python3\d+\.zip|pypy3[\d.]*\.zip)/(.*)")
_INSTALLED = re.compile(r".*(?:^|/)(?:site|dist)-packages/(.*)")
_ARCHIVE = re.compile(r"(.+\.(?:zip|pyz|egg|whl|pex))/(.+)", re.IGNORECASE)
_NOTEBOOK = re.compile(r"(?:.*/ipykernel_\d+/|<ipython-input-\d+-)([0-9A-Za-z]+)(?:\.py|>)")
_BUILT_IN = re.compile(r"<?(?:\{)?built-in (?:method|function) (.+?)(?:\})?>?$")
_SLOT = re.compile(r"(\S+) of (?:(type) object|'?([\w.]+)'? objects?)(?: at 0x[0-9a-fA-F]+)?$")
_METHOD = re.compile(r"[<{](?:method|slot wrapper) '(.+?)' of '(.+?)' objects[>}]$")


class Functions(Protocol):
    """The half of ProfileBuilder that is needed here."""

    def function(
        self,
        qualname: str,
        *,
        module: str,
        file: str,
        first_line: int,
        name: str | None,
        code_hash: str,
        identified: Identified,
        kind: Kind,
        category: Category,
    ) -> int: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a function is; the columns of `model.profile.Functions` as text and numbers."""

    name: str
    qualname: str
    module: str
    file: str
    first_line: int
    code_hash: str
    identified: Identified
    kind: Kind
    category: Category


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file belongs."""

    file: str
    module: str
    category: Category
    path: str | None
    """Of the source on this machine, below the identifier's root; None where there is no such file."""


class Identifier:
    """Resolves functions of one recording; every answer is kept, every file parsed once."""

    def __init__(
        self,
        project_root: Path | None = None,
        *,
        cwd: Path | None = None,
        root: Path = Path("/"),
        sources: bool = True,
        texts: Mapping[str, str] | None = None,
        read_source: Callable[[str], bytes | None] | None = None,
    ) -> None:
        """
        `project_root` and `cwd` as the target sees them. `root` is prefixed to every path that is opened (`/proc/PID/root`).

        `sources=False` opens nothing, for files that come from elsewhere. `texts` are sources by file name that are not on
        disk: `{"<string>": code}` for `-c`. `read_source` replaces reading from disk.
        """
        self._project = _folders(project_root, root) if project_root is not None else ()
        self._cwd = cwd
        self._root = root
        self._sources = sources
        self._texts = texts or {}
        self._read = read_source or (self._read_from_disk if sources else _read_nothing)
        self._places: dict[str, Place] = {}
        self._bytes: dict[str, bytes | None] = {}
        self._trees: dict[str, Source | None] = {}
        self._identities: dict[tuple[str, int | None, str, str | None, int | None], Identity] = {}
        self._packages: dict[str, bool] = {}

    def function(
        self, builder: Functions, *, file: str, line: int | None, name: str, qualname: str | None = None, first_line: int | None = None
    ) -> int:
        """Row of the function in `builder`. `line` is the executing line, `first_line` that of the code object; None = unknown."""
        i = self.identify(file=file, line=line, name=name, qualname=qualname, first_line=first_line)
        return builder.function(
            i.qualname,
            module=i.module,
            file=i.file,
            first_line=i.first_line,
            name=i.name,
            code_hash=i.code_hash,
            identified=i.identified,
            kind=i.kind,
            category=i.category,
        )

    def identify(self, *, file: str, line: int | None, name: str, qualname: str | None = None, first_line: int | None = None) -> Identity:
        """Who the function is. An empty file, `~` or `<built-in>` means that there is none."""
        line = line if line and line > 0 else None
        first_line = first_line if first_line and first_line > 0 else None
        key = (file, line, name, qualname, first_line)
        known = self._identities.get(key)
        if known is None:
            known = self._identities[key] = _without_file(file, name) if file in ("", "~", "<built-in>") else self._identify(*key)
        return known

    def place(self, file: str) -> Place:
        """Where a file belongs; opens nothing but looks for `__init__.py` beside it."""
        known = self._places.get(file)
        if known is None:
            known = self._places[file] = self._place(file)
        return known

    def embed_sources(self) -> tuple[tuple[str, str], ...]:
        """(file, text) of the project's own `.py` files that functions were found in, smallest first up to the bound."""
        found: dict[str, str] = {}
        left = MAX_EMBEDDED_BYTES
        own = {p.file: p for p in self._places.values() if p.category is Category.PROJECT and p.path is not None and p.file.endswith(".py")}
        held = {file: data for file, p in own.items() if self._is_inside(p) and (data := self._content(p.path or "")) is not None}
        for file, data in sorted(held.items(), key=lambda item: (len(item[1]), item[0])):
            text = _decoded(data)
            if text is not None and len(data) <= left:
                left -= len(data)
                found[file] = text
        return tuple(sorted(found.items()))

    def _identify(self, file: str, line: int | None, name: str, qualname: str | None, first_line: int | None) -> Identity:
        place = self.place(file)
        source = self._source(file, place)
        found = source.find(name, line=line, first_line=first_line, qualname=qualname) if source else None
        if source and found:
            scope = found.scope
            start = scope.def_line if scope else first_line or line or 0
            digest = source.code_hash(scope) if scope else ""
            return Identity(name, found.qualname, place.module, place.file, start, digest, Identified.SOURCE, Kind.PYTHON, place.category)
        if qualname is not None:
            # A qualified name tells functions of one file apart without a line, but for lambdas and redefinitions.
            start = first_line or (line if line and name.startswith("<") and name != "<module>" else 0) or 0
            return Identity(name, qualname, place.module, place.file, start, "", Identified.TOOL, Kind.PYTHON, place.category)
        start = 1 if name == "<module>" else first_line or line or 0
        return Identity(name, name, place.module, place.file, start, "", Identified.BARE, Kind.PYTHON, place.category)

    def _place(self, file: str) -> Place:
        path = file.replace("\\", "/") if re.match(r"[A-Za-z]:\\|\\\\", file) else file
        if path.startswith("<"):
            return self._place_without_file(path)
        if notebook := _NOTEBOOK.fullmatch(path):
            return Place(f"<ipython-input-{notebook[1]}>", "__main__", Category.PROJECT, None)
        if not path.startswith("/") and not re.match(r"[A-Za-z]:/", path) and self._cwd is not None:
            path = os.path.normpath(f"{self._cwd}/{path}")
        inner = self._below_project(path)
        rest = inner if inner is not None else path
        if installed := _INSTALLED.fullmatch(rest):
            return Place(installed[1], _module(installed[1]), Category.LIBRARY, path)
        if stdlib := _STDLIB.fullmatch(rest):
            return Place(stdlib[1].removeprefix("lib-dynload/"), _module(stdlib[1].removeprefix("lib-dynload/")), Category.STDLIB, path)
        if inner is not None:
            return Place(inner, self._module_of(path, inner), Category.PROJECT, path)
        category = Category.LIBRARY if self._project else Category.PROJECT
        is_absolute = path.startswith("/") or re.match(r"[A-Za-z]:/", path) is not None
        return Place(path, self._module_of(path, path.rpartition("/")[2] if is_absolute else path), category, path)

    def _place_without_file(self, path: str) -> Place:
        if notebook := _NOTEBOOK.fullmatch(path):
            return Place(f"<ipython-input-{notebook[1]}>", "__main__", Category.PROJECT, None)
        if path.startswith("<frozen "):
            return Place(path, path.removeprefix("<frozen ").removesuffix(">"), Category.STDLIB, None)
        if path in ("<string>", "<stdin>", "<input>", "<console>"):
            return Place(path, "__main__", Category.PROJECT, None)
        return Place(path, "", Category.LIBRARY, None)

    def _below_project(self, path: str) -> str | None:
        for folder in self._project:
            if path.startswith(folder):
                return path[len(folder) :]
        return None

    def _module_of(self, path: str, inner: str) -> str:
        """The dotted name: from the topmost folder with an `__init__.py`, else the whole of `inner`."""
        if archive := _ARCHIVE.fullmatch(path):
            return _module(archive[2])
        parts = inner.removeprefix("src/").split("/")
        folder = path.rpartition("/")[0]
        depth = 0
        while folder and self._is_package(folder):
            folder = folder.rpartition("/")[0]
            depth += 1
        if depth:
            return _module("/".join(path.split("/")[-depth - 1 :]))
        return _module("/".join(parts))

    def _is_package(self, folder: str) -> bool:
        known = self._packages.get(folder)
        if known is None:
            known = self._packages[folder] = self._sources and os.path.isfile(self._on_disk(f"{folder}/__init__.py"))
        return known

    def _is_inside(self, place: Place) -> bool:
        """Does the file itself, links followed, lie below the project root?"""
        real = os.path.realpath(self._on_disk(place.path or ""))
        return any(real.startswith(os.path.realpath(self._on_disk(folder)) + os.sep) for folder in self._project)

    def _source(self, file: str, place: Place) -> Source | None:
        if file in self._trees:
            return self._trees[file]
        data: bytes | str | None = self._texts.get(file)
        if data is None and place.path is not None:
            data = self._content(place.path)
        tree = None
        if data is not None:
            try:
                tree = Source(data)
            except (SyntaxError, ValueError):
                # Not Python, or a newer one than this: the tool's own name stands and is marked so.
                tree = None
        self._trees[file] = tree
        return tree

    def _content(self, path: str) -> bytes | None:
        if path not in self._bytes:
            self._bytes[path] = self._read(path)
        return self._bytes[path]

    def _on_disk(self, path: str) -> str:
        return path if self._root == Path("/") else f"{self._root}/{path.lstrip('/')}"

    def _read_from_disk(self, path: str) -> bytes | None:
        if archive := _ARCHIVE.fullmatch(path):
            data = _read_regular(self._on_disk(archive[1]), 64 << 20)
            return _member(data, archive[2]) if data is not None else None
        return (
            _read_regular(self._on_disk(path), MAX_SOURCE_BYTES)
            if path.endswith((".py", ".pyw")) or "." not in path.rpartition("/")[2]
            else None
        )


def builtin(name: str) -> Identity:
    """A function without Python source, by the name that the interpreter prints: `<built-in method time.sleep>`."""
    module, qualname = "", name
    if method := _METHOD.match(name):
        module, qualname = "builtins", f"{method[2]}.{method[1]}"
    elif plain := _BUILT_IN.match(name):
        inner = plain[1]
        if slot := _SLOT.match(inner):
            module, qualname = "builtins", f"{slot[2] or slot[3]}.{slot[1]}"
        elif re.fullmatch(r"[\w.]+", inner):
            module, _, qualname = inner.rpartition(".")
        else:
            qualname = re.sub(r" at 0x[0-9a-fA-F]+", "", inner)
    bare = qualname.rpartition(".")[2] or qualname
    return Identity(bare, qualname, module, "", 0, "", Identified.TOOL, Kind.BUILTIN, Category.NATIVE)


def spelled(profile: Profile, function: int) -> str:
    """The name of a function for formats with one name a frame: qualified, built-ins as the interpreter prints them."""
    f, s = profile.functions, profile.strings
    module, qualname = s[f.module[function]], s[f.qualname[function]] or s[f.name[function]]
    if f.kind[function] != Kind.BUILTIN or not module or s[f.file[function]]:
        return qualname
    owner, _, method = qualname.rpartition(".")
    return f"<method '{method}' of '{owner}' objects>" if module == "builtins" and owner else f"<built-in method {module}.{qualname}>"


def bare_name(qualname: str) -> str:
    """`run` of `A.run`; a name that ends in a dot or holds no plain dot is its own."""
    bare = qualname.rpartition(".")[2]
    return bare if bare and not re.search(r"[()\[\]\s]", qualname) else qualname


def _without_file(file: str, name: str) -> Identity:
    """Built-ins, where the tool or the spelling says so; else a name of which nothing more is known."""
    if file or _METHOD.match(name) or _BUILT_IN.match(name):
        return builtin(name)
    return Identity(bare_name(name), name, "", "", 0, "", Identified.BARE, Kind.PYTHON, Category.LIBRARY)


def _module(path: str) -> str:
    stem = path.removesuffix(".py").removesuffix(".pyw")
    if stem == path and path.endswith((".so", ".pyd")):
        stem = re.sub(r"\.(?:cpython|cp|abi3|pypy)[\w-]*", "", path.rpartition(".")[0])
    return stem.removesuffix("/__init__").strip("/").replace("/", ".")


def _folders(project_root: Path, root: Path) -> tuple[str, ...]:
    """The project root as text with a closing slash: as given, and with links followed where that differs."""
    given = str(project_root).replace("\\", "/").rstrip("/") + "/"
    real = os.path.realpath(project_root).replace("\\", "/").rstrip("/") + "/" if root == Path("/") else given
    return tuple(dict.fromkeys((given, real)))


def _read_nothing(path: str) -> bytes | None:
    return None


def _read_regular(path: str, limit: int) -> bytes | None:
    """Content of a regular file of at most `limit` bytes, None for anything else: a pipe would hang, a device never end."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError):
        return None
    with os.fdopen(handle, "rb") as stream:
        try:
            status = os.fstat(stream.fileno())
            return stream.read(limit) if stat.S_ISREG(status.st_mode) and status.st_size <= limit else None
        except OSError:
            return None


def _member(archive: bytes, name: str) -> bytes | None:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entry = opened.getinfo(name)
            if entry.file_size > MAX_SOURCE_BYTES:
                return None
            with opened.open(entry) as stream:
                return stream.read(MAX_SOURCE_BYTES)
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, EOFError, NotImplementedError):
        return None


def _decoded(data: bytes) -> str | None:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return None
