"""The scopes of one source file: which function stands where, what it is called, and a hash of what it does.

Tools name a code object by (file, first line, bare name) or (file, executing line, bare name). This finds the scope that
they mean and gives its qualified name as `__qualname__` would be (`First.run`, `outer.<locals>.inner`, `<lambda>`).

Rules:
- A scope spans from its first decorator (`co_firstlineno`) to its last line; its *def line* is that of `def` or `class`.
- Of several functions of the asked name around a line, the innermost is meant. Where it cannot be told which one (two lambdas on
  one line, a generator expression within another) nothing is chosen, and the answer says how far they agree.
- Comprehensions are scopes of their own, as in Python up to 3.11; later ones run list, dict and set comprehensions inside
  of their owner and never ask for them. They are not folded: what a tool reports stays what it reported.
- The code hash covers arguments and body without docstrings, annotations, decorators, lines and the function's own name, so
  that a moved or renamed function keeps it. A call of the function to itself counts as *itself*, by whatever name (`f`,
  `self.f`). Modules and class bodies leave the bodies of their functions out, since these have rows of their own.
- The hash walks the tree itself and skips empty fields, because `ast.dump` differs between Python versions.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
Owner = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda | Comprehension | ast.Module

_COMPREHENSIONS = {ast.ListComp: "<listcomp>", ast.SetComp: "<setcomp>", ast.DictComp: "<dictcomp>", ast.GeneratorExp: "<genexpr>"}
_UNHASHED = frozenset({"ctx", "type_comment", "type_params", "kind", "annotation", "returns", "decorator_list"})


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """One code object to be."""

    name: str
    qualname: str
    first_line: int
    """Of the first decorator, as `co_firstlineno`."""
    def_line: int
    end_line: int
    node: Owner


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a question: `scope` where one was meant, and the qualified name where all that fit agree on it."""

    qualname: str
    scope: Scope | None


class Source:
    """The scopes of one file; statements are indexed at once, lambdas and comprehensions when first asked for."""

    def __init__(self, text: bytes | str) -> None:
        """Raises SyntaxError or ValueError where the text is no Python of this interpreter's."""
        self._tree = _parse(text)
        self._scopes: dict[str, list[Scope]] | None = None
        self._statements: dict[str, list[Scope]] = {}
        self._hashes: dict[Scope, str] = {}
        for scope in _scopes(self._tree, expressions=False):
            self._statements.setdefault(scope.name, []).append(scope)

    def find(self, name: str, *, line: int | None = None, first_line: int | None = None, qualname: str | None = None) -> Found | None:
        """The scope of that name that begins at `first_line` (decorator or def) or else runs `line`; None where none does."""
        fits = self._named(name)
        if qualname is not None:
            fits = [s for s in fits if s.qualname == qualname]
        if first_line is not None:
            fits = [s for s in fits if s.first_line == first_line or (s.def_line == first_line and not name.startswith("<"))]
        if line is not None and len(fits) + (first_line is None) > 1:
            fits = [s for s in fits if s.first_line <= line <= s.end_line]
            # Functions nest by whole lines. Outside of its own `def` lines, which the one around it runs, the inner one is meant.
            inner = max(fits, key=lambda s: (s.first_line, -s.end_line), default=None)
            if inner is not None and not name.startswith("<") and line > inner.def_line:
                fits = [inner]
        if len(fits) == 1:
            return Found(fits[0].qualname, fits[0])
        return Found(fits[0].qualname, None) if len({s.qualname for s in fits}) == 1 and (line or first_line) else None

    def code_hash(self, scope: Scope) -> str:
        """16 hexadecimal digits."""
        known = self._hashes.get(scope)
        if known is None:
            known = self._hashes[scope] = _hash(scope)
        return known

    def _named(self, name: str) -> list[Scope]:
        if not name.startswith("<") or name == "<module>":
            return self._statements.get(name, []) or self._all().get(name, [])
        return self._all().get(name, [])

    def _all(self) -> dict[str, list[Scope]]:
        if self._scopes is None:
            self._scopes = {}
            for scope in _scopes(self._tree, expressions=True):
                self._scopes.setdefault(scope.name, []).append(scope)
        return self._scopes


def _parse(text: bytes | str) -> ast.Module:
    # The collector walks all nodes again and again while a large tree grows: 120,000 lines take 2.1 s with it, 0.7 s without.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (RecursionError, MemoryError) as error:
        raise ValueError("nested too deep") from error
    finally:
        if was_enabled:
            gc.enable()


def _scopes(tree: ast.Module, *, expressions: bool) -> Iterator[Scope]:
    """Every scope, outer before inner. `expressions`: also those that lambdas and comprehensions make."""
    last = max((getattr(node, "end_lineno", 0) or 0 for node in tree.body), default=1)
    yield Scope("<module>", "<module>", 1, 1, max(last, 1), tree)
    # Entries: (node, prefix of the qualified names of scopes below it). A stack, since trees may be deeper than Python recurses.
    todo: list[tuple[ast.AST, str]] = [(node, "") for node in reversed(tree.body)]
    while todo:
        node, prefix = todo.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                qualname = prefix + node.name
                yield _scope(node.name, qualname, node)
                if expressions:
                    around: list[ast.AST] = [*node.decorator_list, node.args, *([node.returns] if node.returns else [])]
                    todo += [(child, prefix) for child in around]
                todo += [(child, f"{qualname}.<locals>.") for child in reversed(node.body)]
            case ast.ClassDef():
                qualname = prefix + node.name
                yield _scope(node.name, qualname, node)
                if expressions:
                    todo += [(child, prefix) for child in (*node.decorator_list, *node.bases, *node.keywords)]
                todo += [(child, f"{qualname}.") for child in reversed(node.body)]
            case ast.Lambda():
                qualname = prefix + "<lambda>"
                yield _scope("<lambda>", qualname, node)
                todo += [(node.args, prefix), (node.body, f"{qualname}.<locals>.")]
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                name = _COMPREHENSIONS[type(node)]
                qualname = prefix + name
                yield _scope(name, qualname, node)
                first, *others = node.generators
                inner: list[ast.AST] = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
                inner += [first.target, *first.ifs, *others]
                todo += [(first.iter, prefix), *((child, f"{qualname}.") for child in inner)]
            case _:
                if expressions:
                    todo += [(child, prefix) for child in reversed(list(ast.iter_child_nodes(node)))]
                else:
                    todo += [(child, prefix) for child in reversed(list(_statements_below(node)))]


def _statements_below(node: ast.AST) -> Iterator[ast.AST]:
    for block in ("body", "orelse", "handlers", "finalbody", "cases"):
        children: object = getattr(node, block, None)
        if isinstance(children, list):
            yield from (child for child in children if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case))  # pyright: ignore[reportUnknownVariableType]


def _scope(name: str, qualname: str, node: Owner) -> Scope:
    line: int = getattr(node, "lineno", 1)
    decorators: Sequence[ast.expr] = getattr(node, "decorator_list", ())
    end: int | None = getattr(node, "end_lineno", None)
    return Scope(name, qualname, min((d.lineno for d in decorators), default=line), line, end or line, node)


def _hash(scope: Scope) -> str:
    digest = hashlib.blake2b(digest_size=8)
    node = scope.node
    own = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None
    receiver = node.args.args[0].arg if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.args.args else None
    shallow = isinstance(node, ast.Module | ast.ClassDef)
    todo: list[object] = [type(node).__name__]
    match node:
        case ast.Module() | ast.ClassDef():
            todo += _without_docstring(node.body)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            todo += [node.args, *_without_docstring(node.body)]
        case _:
            todo += list(ast.iter_child_nodes(node))
    todo.reverse()
    while todo:
        item = todo.pop()
        match item:
            case ast.Name(id=name) if own is not None and name == own:
                digest.update(b"\0itself")
            case ast.Attribute(value=ast.Name(id=base), attr=name) if own is not None and name == own and base in (receiver, "self", "cls"):
                digest.update(b"\0own\0" + base.encode("utf-8", "replace"))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if shallow:
                digest.update(b"\0" + type(item).__name__.encode() + b" " + item.name.encode("utf-8", "replace"))
            case ast.AST():
                digest.update(b"\0(" + type(item).__name__.encode())
                todo.append(")")
                for field in reversed(item._fields):
                    value: object = getattr(item, field, None)
                    if field in _UNHASHED or value is None or value == []:
                        continue
                    if field == "body" and isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                        value = _without_docstring(item.body)
                    todo += [value, field]
            case list():
                digest.update(b"\0[")
                todo.append("]")
                todo += reversed(item)  # pyright: ignore[reportUnknownArgumentType]
            case _:
                digest.update(b"\0" + type(item).__name__.encode() + b" " + repr(item).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def _without_docstring(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return list(rest)
        case _:
            return list(body)
