"""Which function of the base is which of the new side, across a refactor.

First by key (module, qualified name, file, kind). What is left on one side only is then matched by what a refactor keeps:
the same code under another name or in another place (code hash), or the same qualified name in another module or file; each only where
exactly one candidate stands on either side, so that two functions that cannot be told apart are never joined.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from proftool.model.profile import Category, FunctionKey, Int32Array, Kind, Profile, function_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """One list of functions for all runs of both sides."""

    names: tuple[FunctionKey, ...]
    """Key on the new side where the function is there, else on the base side."""
    rows: tuple[tuple[int, int], ...]
    """(profile, row) that stands for the function; profiles are counted base first."""
    maps: tuple[Int32Array, ...]
    """Per profile, the place in `names` of each of its functions."""
    in_base: tuple[bool, ...]
    in_new: tuple[bool, ...]
    moved_from: dict[int, str]
    """Place -> `module:qualname` on the base side."""


def match(base: Sequence[Profile], new: Sequence[Profile]) -> Matched:
    """The functions of both sides as one list."""
    profiles = (*base, *new)
    keys = [function_keys(p) for p in profiles]
    first: list[dict[FunctionKey, tuple[int, int]]] = [{}, {}]
    for at, own in enumerate(keys):
        side = first[at >= len(base)]
        for row, key in enumerate(own):
            side.setdefault(key, (at, row))
    alias: dict[FunctionKey, FunctionKey] = {}
    gone = [key for key in first[0] if key not in first[1]]
    fresh = [key for key in first[1] if key not in first[0]]

    def digest(key: FunctionKey) -> str:
        at, row = first[0].get(key) or first[1][key]
        return profiles[at].text(int(profiles[at].functions.code_hash[row]))

    def category(key: FunctionKey) -> int:
        at, row = first[0].get(key) or first[1][key]
        return int(profiles[at].functions.category[row])

    # Which functions of the standard library a sampler meets is chance; taking one for another would be a false move.
    gone = [key for key in gone if category(key) != Category.STDLIB]
    fresh = [key for key in fresh if category(key) != Category.STDLIB]
    rules: tuple[Callable[[FunctionKey], Hashable | None], ...] = (
        lambda k: (k.qualname, digest(k)) if digest(k) else None,
        lambda k: (k.module, k.qualname, k.kind),
        lambda k: digest(k) or None,
        lambda k: (k.qualname, k.kind) if not k.qualname.startswith("<") and category(k) == Category.PROJECT else None,
        lambda k: (k.file, k.qualname, k.kind, k.ordinal) if k.file else None,
        lambda k: (k.module, k.qualname.rpartition(".")[2]) if not k.qualname.endswith(">") and category(k) == Category.PROJECT else None,
    )
    for rule in rules:
        left = [key for key in gone if key not in alias]
        taken = set(alias.values())
        for old, now in _pairs(left, [key for key in fresh if key not in taken], rule):
            if old.kind == now.kind == Kind.PYTHON or old[:2] == now[:2]:
                alias[old] = now
    places: dict[FunctionKey, int] = {}
    for key in (*first[1], *(alias.get(key, key) for key in first[0])):
        places.setdefault(key, len(places))
    names = tuple(places)
    moved = {places[now]: f"{old.module}:{old.qualname}" for old, now in alias.items() if old[:3] != now[:3]}
    old_places = {places[alias.get(key, key)] for key in first[0]}
    maps = tuple(
        np.array([places[alias.get(key, key) if at < len(base) else key] for key in own], np.int32).reshape(len(own))
        for at, own in enumerate(keys)
    )
    return Matched(
        names=names,
        rows=tuple(first[1].get(key) or first[0][key] for key in names),
        maps=maps,
        in_base=tuple(place in old_places for place in range(len(names))),
        in_new=tuple(key in first[1] for key in names),
        moved_from=moved,
    )


def _pairs(
    gone: Sequence[FunctionKey], fresh: Sequence[FunctionKey], rule: Callable[[FunctionKey], Hashable | None]
) -> list[tuple[FunctionKey, FunctionKey]]:
    sides: list[dict[Hashable, list[FunctionKey]]] = [{}, {}]
    for side, keys in zip(sides, (gone, fresh), strict=True):
        for key in keys:
            if (by := rule(key)) is not None:
                side.setdefault(by, []).append(key)
    return [(old[0], sides[1][by][0]) for by, old in sides[0].items() if len(old) == 1 and len(sides[1].get(by, ())) == 1]
