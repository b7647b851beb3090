"""The part of CPython's marshal format that statistics files use, read by rules of our own.

`marshal.loads` is not meant for data from strangers: it can be made to allocate without bound or to crash the interpreter. This reads
numbers, texts, tuples and dicts, counts what it makes, and refuses everything else.

Source: `Python/marshal.c`, versions 2 to 4.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

Value = int | float | str | bytes | tuple["Value", ...] | dict["Value", "Value"] | None
_REF = 0x80
_MAX_DEPTH = 16
_MAX_VALUES = 50_000_000
_MAX_DIGITS = 8
"""Of a long integer, 15 bits each: 120 bits are more than any count or time needs."""


def loads(data: bytes) -> Value:
    """The value; ValueError where the bytes are cut short, not of these kinds, too deep or too many."""
    reader = _Reader(data)
    value = reader.value(0)
    if isinstance(value, _Null):
        raise ValueError("it holds nothing")
    return value


@dataclass(frozen=True, slots=True)
class _Null:
    """The end of a dict."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.n_values = data, 0, 0
        self.refs: list[Value] = []

    def take(self, n: int) -> bytes:
        if n < 0 or self.at + n > len(self.data):
            raise ValueError(f"it ends at byte {len(self.data)}, within a value that begins at {self.at}")
        piece = self.data[self.at : self.at + n]
        self.at += n
        return piece

    def long(self) -> int:
        return int.from_bytes(self.take(4), "little", signed=True)

    def value(self, depth: int) -> Value | _Null:
        self.n_values += 1
        if depth > _MAX_DEPTH or self.n_values > _MAX_VALUES:
            raise ValueError(f"it is nested deeper or has more values than any statistics at byte {self.at}")
        kind = self.take(1)[0]
        remembered, letter = bool(kind & _REF), chr(kind & ~_REF)
        if letter == "r":
            index = self.long()
            if not 0 <= index < len(self.refs):
                raise ValueError(f"a reference at byte {self.at} points nowhere")
            return self.refs[index]
        place = len(self.refs)
        if remembered:
            self.refs.append(None)
        found = self.plain(letter, depth)
        if remembered and not isinstance(found, _Null):
            self.refs[place] = found
        return found

    def plain(self, letter: str, depth: int) -> Value | _Null:
        match letter:
            case "0":
                return _Null()
            case "N":
                return None
            case "T" | "F":
                return int(letter == "T")
            case "i":
                return self.long()
            case "l":
                return self.big()
            case "g":
                return float(struct.unpack("<d", self.take(8))[0])
            case "s":
                return self.take(self.long())
            case "u" | "t":
                return self.take(self.long()).decode("utf-8", "surrogatepass")
            case "a" | "A":
                return self.take(self.long()).decode("ascii")
            case "z" | "Z":
                return self.take(self.take(1)[0]).decode("ascii")
            case ")":
                return self.items(self.take(1)[0], depth)
            case "(":
                return self.items(self.long(), depth)
            case "{":
                return self.pairs(depth)
            case _:
                raise ValueError(f"byte {self.at - 1} begins a value of a kind that statistics do not have")

    def big(self) -> int:
        n = self.long()
        if abs(n) > _MAX_DIGITS:
            raise ValueError(f"the number at byte {self.at} is absurdly large")
        digits = struct.unpack(f"<{abs(n)}H", self.take(2 * abs(n)))
        number = sum(digit << (15 * place) for place, digit in enumerate(digits))
        return -number if n < 0 else number

    def items(self, n: int, depth: int) -> tuple[Value, ...]:
        if not 0 <= n <= len(self.data) - self.at:
            raise ValueError(f"the tuple before byte {self.at} claims {n} items")
        return tuple(self.whole(depth) for _ in range(n))

    def pairs(self, depth: int) -> dict[Value, Value]:
        found: dict[Value, Value] = {}
        while not isinstance(key := self.value(depth + 1), _Null):
            try:
                found[key] = self.whole(depth)
            except TypeError:
                raise ValueError(f"the dict before byte {self.at} has a key that cannot be one") from None
        return found

    def whole(self, depth: int) -> Value:
        value = self.value(depth + 1)
        if isinstance(value, _Null):
            raise ValueError(f"a value is missing before byte {self.at}")
        return value
