"""The codec of integer columns gives back what it was given, small, and never more than it was promised."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proftool.formats.columns import Column, Text, pack, pack_strings, unpack, unpack_strings

GOLDEN = Path(__file__).parent.parent / "golden" / "columns"

integers = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40).map(lambda v: np.array(v, np.int64)),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=40).map(lambda v: np.array(v, np.int32)),
    st.lists(st.integers(0, 255), max_size=40).map(lambda v: np.array(v, np.uint8)),
    st.tuples(st.integers(0, 2**40), st.integers(1, 10**9), st.lists(st.integers(0, 99), max_size=40)).map(
        lambda t: np.array([t[0] + t[1] * v for v in t[2]], np.int64)
    ),
)


@given(st.dictionaries(st.text(max_size=5), integers, max_size=4))
@settings(deadline=None)
def test_columns_come_back_as_they_were(columns: dict[str, np.ndarray]) -> None:
    """Values, dtypes and order survive, also at the ends of 64 bits; the header survives JSON."""
    header, body = pack(columns)
    again = msgspec.json.decode(msgspec.json.encode(header), type=tuple[Column, ...])
    result = unpack(again, body)
    assert list(result) == list(columns)
    for name, column in columns.items():
        assert result[name].dtype == column.dtype
        assert result[name].tolist() == column.tolist()


@given(st.lists(st.text(st.characters(), max_size=8) | st.just("\udc80\0é"), max_size=8))
@settings(deadline=None)
def test_strings_come_back_as_they_were(strings: list[str]) -> None:
    """Zeros and lone surrogates too, which undecodable file names are made of."""
    header, body = pack_strings(strings)
    assert unpack_strings(msgspec.json.decode(msgspec.json.encode(header), type=Text), body) == tuple(strings)


def test_a_million_nodes_fit_an_html_file() -> None:
    """Parent, frame and a value of 64 bits of a million nodes stay below 7 MB, so that base64 stays below 10 MB."""
    rng = np.random.default_rng(7)
    n = 1_000_000
    parent = np.arange(n, dtype=np.int32) - 1 - np.minimum(rng.geometric(0.3, n), np.arange(n)).astype(np.int32)
    columns = {
        "parent": np.maximum(parent, -1).astype(np.int32),
        "frame": np.minimum(rng.zipf(1.3, n), 20_000).astype(np.int32),
        "value": rng.lognormal(14, 2, n).astype(np.int64),
    }
    header, body = pack(columns)
    assert len(body) < 7_000_000
    result = unpack(header, body)
    assert all((result[name] == column).all() for name, column in columns.items())


def test_documented_decoding_is_all_there_is(tmp_path: Path) -> None:
    """The kept sample, decoded by nothing but the docstring's three steps in plain Python, gives the kept values."""
    sample = json.loads((GOLDEN / "sample.json").read_text())
    body = (GOLDEN / "sample.bin").read_bytes()
    at = 0
    for entry, expected in zip(sample["columns"], sample["values"], strict=True):
        plain = zlib.decompress(body[at : at + entry["size"]]) if entry["size"] else b""
        at += entry["size"]
        rows = entry["rows"]
        u = [sum(plain[k * rows + i] << (8 * k) for k in range(entry["width"])) for i in range(rows)]
        x = [entry["base"] + entry["scale"] * v for v in u]
        match entry["filter"]:
            case "none":
                values = x
            case "delta":
                values = [sum(x[: i + 1]) for i in range(rows)]
            case "index":
                values = [i - v for i, v in enumerate(x)]
        assert values == expected
    text = sample["text"]
    sizes = at, at + text["lengths"]["size"], at + text["lengths"]["size"] + text["size"]
    assert sizes[2] == len(body)
    assert list(unpack_strings(msgspec.convert(text, Text), body[at:])) == sample["strings"]


def test_every_filter_is_in_the_sample() -> None:
    """So that a decoder that passes it knows them all."""
    entries = json.loads((GOLDEN / "sample.json").read_text())["columns"]
    assert {e["filter"] for e in entries} == {"none", "delta", "index"}
    assert {0, 1, 2, 3, 7} <= {e["width"] for e in entries}
    assert any(e["scale"] > 1 for e in entries)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 2**40},
        {"rows": -1},
        {"width": 9},
        {"width": 1},
        {"size": 10**9},
        {"size": -1},
        {"base": 2**70},
        {"scale": -1},
        {"scale": 2**70},
        {"rows": 2**30, "width": 0, "size": 0},
    ],
)
def test_lying_headers_are_refused(change: dict[str, int]) -> None:
    """A header that does not fit its body is a ValueError before memory is taken."""
    (entry,), body = pack({"a": np.array([1, 500, 70_000], np.int64)})
    with pytest.raises(ValueError, match="column"):
        unpack(
            (
                msgspec.structs.replace(entry, **change)
                if isinstance(entry, msgspec.Struct)
                else __import__("dataclasses").replace(entry, **change),
            ),
            body,
        )


def test_a_bomb_is_not_inflated() -> None:
    """A stream that would become far larger than announced stops at what was announced."""
    (entry,), _ = pack({"a": np.array([1, 500, 70_000], np.int64)})
    bomb = zlib.compress(b"\0" * 50_000_000, 9)
    import dataclasses

    with pytest.raises(ValueError, match="exactly"):
        unpack((dataclasses.replace(entry, size=len(bomb)),), bomb)
