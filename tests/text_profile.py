"""Profiles drawn as text, so that a test shows the stacks that it is about.

    profile_from_text('''
        main       main      main
        app.f      app.f     app.g
        lib:read             app.f
    ''')

A column is one sample, the root on top; columns start where the words of the first line start, and a column ends at its
first empty place. A frame is `function`, `module.function`, with `:LINE` for a line, with `!` in front for library code,
`@` for the standard library, `$` for native code. The last line may give each column's value (`= 5  3  1`), else it is 1.
"""

from __future__ import annotations

import re
import textwrap

from proftool.model.builder import ProfileBuilder
from proftool.model.check import checked
from proftool.model.meta import Meta
from proftool.model.profile import ROOT, SAMPLES, Category, Identified, Kind, Metric, Profile
from proftool.model.tree import function_self, function_total

_CATEGORIES = {"!": Category.LIBRARY, "@": Category.STDLIB, "$": Category.NATIVE}


def profile_from_text(drawing: str, *, metric: Metric = SAMPLES, pid: int = 1, tid: int = 1, meta: Meta | None = None) -> Profile:
    """The drawn samples in one metric and one lane, checked."""
    lines = [line.rstrip() for line in textwrap.dedent(drawing).strip("\n").splitlines() if line.strip()]
    values = [int(text) for text in lines.pop()[1:].split()] if lines and lines[-1].lstrip().startswith("=") else None
    starts = [found.start() for found in re.finditer(r"\S+", lines[0])] if lines else []
    if values is not None and len(values) != len(starts):
        raise ValueError(f"{len(starts)} columns but {len(values)} values")
    builder = ProfileBuilder((metric,), meta)
    lane = builder.lane(pid=pid, tid=tid, thread_name="MainThread", is_main=True)
    node = [ROOT] * len(starts)
    ended = [False] * len(starts)
    for line in lines:
        words = {found.start(): found.group() for found in re.finditer(r"\S+", line)}
        if strays := set(words) - set(starts):
            raise ValueError(f"no column starts at {min(strays)}: {line!r}")
        for column, start in enumerate(starts):
            if start not in words:
                ended[column] = True
            elif ended[column]:
                raise ValueError(f"a frame below an empty place: {line!r}")
            else:
                node[column] = builder.node(node[column], frame(builder, words[start]))
    for column, leaf in enumerate(node):
        builder.add(leaf, lane, 0, 1 if values is None else values[column])
    return checked(builder.build())


def frame(builder: ProfileBuilder, text: str) -> int:
    """The frame that a word of a drawing stands for."""
    category = _CATEGORIES.get(text[0], Category.PROJECT)
    word, _, line = text.lstrip("!@$").partition(":")
    module, _, name = word.rpartition(".")
    function = builder.function(
        name,
        module=module,
        file=f"{module.replace('.', '/')}.py" if module else "",
        first_line=1 if module else 0,
        identified=Identified.SOURCE if module else Identified.BARE,
        kind=Kind.NATIVE if category is Category.NATIVE else Kind.PYTHON,
        category=category,
    )
    return builder.frame(function, int(line or 0))


def function_name(profile: Profile, function: int) -> str:
    """The word that stands for a function in a drawing, without its mark."""
    module, name = (profile.text(int(profile.functions.columns()[c][function])) for c in ("module", "qualname"))
    return f"{module}.{name}" if module else name


def totals(profile: Profile, metric: int = 0) -> dict[str, int]:
    """Function -> inclusive value, where it has one; equal names are added up."""
    return _by_name(profile, function_total(profile, metric).tolist())


def selfs(profile: Profile, metric: int = 0) -> dict[str, int]:
    """Function -> self value, where it has one; equal names are added up."""
    return _by_name(profile, function_self(profile, metric).tolist())


def stacks(profile: Profile, metric: int = 0) -> dict[str, int]:
    """`main;app.f:3` -> self value, over all lanes; a line is shown where it is known."""
    names: list[str] = []
    for parent, at in zip(profile.nodes.parent.tolist(), profile.nodes.frame.tolist(), strict=True):
        line = int(profile.frames.line[at])
        own = function_name(profile, int(profile.frames.function[at])) + (f":{line}" if line else "")
        names.append(own if parent == ROOT else f"{names[parent]};{own}")
    found: dict[str, int] = {}
    for node, of, value in zip(profile.cells.node.tolist(), profile.cells.metric.tolist(), profile.cells.value.tolist(), strict=True):
        if of == metric:
            found[names[node]] = found.get(names[node], 0) + value
    return found


def _by_name(profile: Profile, values: list[int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for function, value in enumerate(values):
        if value:
            name = function_name(profile, function)
            found[name] = found.get(name, 0) + value
    return found
