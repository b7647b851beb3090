"""The binary recordings of Python 3.15's sampling profiler (`profiling.sampling`, "Tachyon"): known, and refused with the way out.

The layout belongs to the interpreter that wrote it, and only that interpreter's own reader is sure to fit; it converts them to
collapsed stacks and Gecko profiles, which proftool reads.

Source: CPython, InternalDocs/profiling_binary_format.md.
"""

from __future__ import annotations

from pathlib import Path

from proftool.errors import NewerVersion
from proftool.formats.limits import corrupt, read_bytes
from proftool.model.profile import Profile

_MAGICS = (b"TACH", b"HCAT")
"""By the byte order of the machine."""


class Tachyon:
    """The format object."""

    name = "tachyon"
    suffixes = (".tachyon",)

    def matches(self, head: bytes) -> bool:
        """Its magic, and a version below 256 behind it."""
        return head[:4] in _MAGICS and len(head) >= 8 and head[4:8].count(0) >= 3

    def read(self, path: Path) -> Profile:
        """Never: NewerVersion says what converts the file, CorruptProfile that it is none."""
        if not self.matches(read_bytes(path, self.name)[:8]):
            raise corrupt(self.name, "it does not begin as one", path)
        raise NewerVersion(
            f"cannot read `{path}`: a binary recording of Python's own sampling profiler",
            cause="only the Python that recorded it has the reader of its layout",
            fix=f"`python3.15 -m profiling.sampling replay --collapsed -o stacks.txt {path}`, then `proftool import stacks.txt`",
        )


format = Tachyon()
