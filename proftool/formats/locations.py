"""Locations of pprof and OTLP: places in the code with one line or several, inlined calls innermost first, as rows of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from proftool.formats.identity import Identifier, bare_name
from proftool.formats.limits import MAX_STACK_DEPTH, too_large
from proftool.formats.stacks import row_groups
from proftool.model.builder import ProfileBuilder
from proftool.model.profile import Int32Array, Int64Array, Kind, ints

FRAMELESS = "(no frames)"
"""A stack that names no location; its values count too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFunctions:
    """A table of functions, a row each."""

    names: Sequence[str]
    files: Sequence[str]
    first_lines: Sequence[int]


class FrameRows:
    """Frames by name, file and lines in a builder."""

    def __init__(self, builder: ProfileBuilder, format: str, path: Path) -> None:
        self.builder, self.format, self.path = builder, format, path
        self._who = Identifier(None, sources=False)

    def row(self, name: str, file: str, line: int = 0, first_line: int = 0) -> int:
        """Row of a frame; lines that are none are unknown."""
        line, first_line = (number if 0 < number < 1 << 31 else 0 for number in (line, first_line))
        if name == FRAMELESS and not file:
            return self.builder.frame(self.builder.function(name, name=name, kind=Kind.SYNTHETIC))
        bare = bare_name(name) if file else name
        function = self._who.function(self.builder, file=file, line=line or None, name=bare, qualname=name, first_line=first_line or None)
        return self.builder.frame(function, line)


class Locations:
    """Frames of every location, one location behind the other."""

    def __init__(
        self,
        rows: FrameRows,
        functions: NamedFunctions,
        *,
        n_lines: Int64Array,
        function: Int64Array,
        line: Int64Array,
        binary: Sequence[str],
        address: Int64Array,
    ) -> None:
        """`n_lines`, `binary` and `address` have a row a location, `function` (a row of `functions`) and `line` one a line of each."""
        self._rows = rows
        self._counts = np.maximum(n_lines, 1)
        self._begins = np.cumsum(self._counts) - self._counts
        self._flat = np.zeros(int(self._counts.sum()), np.int32)
        # A location without lines is the binary and the address.
        for at in np.flatnonzero(n_lines == 0).tolist():
            self._flat[self._begins[at]] = rows.row(f"0x{int(address[at]) % (1 << 64):x}", binary[at])
        within = np.arange(len(line)) - np.repeat(np.cumsum(n_lines) - n_lines, n_lines)
        self._flat[np.repeat(self._begins, n_lines) + within] = self._of_lines(functions, function, line)

    def _of_lines(self, functions: NamedFunctions, function: Int64Array, line: Int64Array) -> Int32Array:
        first, which = row_groups((function, line))
        if len(function) and not (int(function.min()) >= 0 and int(function.max()) < len(functions.names)):
            raise ValueError(f"a location names function {int(function.max())} of {len(functions.names)}")
        rows = [
            self._rows.row(functions.names[row], functions.files[row], number, functions.first_lines[row])
            for row, number in zip(ints(function[first]), ints(line[first]), strict=True)
        ]
        return np.array(rows, np.int32)[which] if rows else np.zeros(0, np.int32)

    def frames(self, at: Int32Array, lengths: Int64Array) -> tuple[Int32Array, Int64Array]:
        """
        Frames of stacks.

        Args:
            at: locations of all stacks, one stack behind the other.
            lengths: locations of each.

        Returns:
            frames in the same order, at least one a stack, and how many each stack has.
        """
        if int(self._counts.max(initial=1)) == 1:
            frames = self._flat[at]
        else:
            per = self._counts[at]
            within = np.arange(int(per.sum())) - np.repeat(np.cumsum(per) - per, per)
            frames = self._flat[np.repeat(self._begins[at], per) + within]
            owner = np.repeat(np.arange(len(lengths)), lengths)
            lengths = np.bincount(owner, weights=per, minlength=len(lengths)).astype(np.int64)
        if len(lengths) and int(lengths.max()) > MAX_STACK_DEPTH:
            raise too_large(self._rows.format, f"a stack has {int(lengths.max()):,} frames", self._rows.path)
        empty = np.flatnonzero(lengths == 0)
        if len(empty):
            frames = np.insert(frames, (np.cumsum(lengths) - lengths)[empty], self._rows.row(FRAMELESS, ""))
            lengths = np.maximum(lengths, 1)
        return frames, lengths
