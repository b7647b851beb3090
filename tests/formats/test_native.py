"""proftool's own format loses nothing and refuses everything that is not whole."""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import pytest
from formats.profiles import profiles, same
from hypothesis import given, settings

from proftool.errors import CorruptProfile, NewerVersion
from proftool.formats import native
from proftool.model.profile import Profile
from proftool.model.tree import metric_total

GOLDEN = Path(__file__).parent.parent / "golden" / "native"


@given(profiles())
@settings(deadline=None, max_examples=60)
def test_nothing_is_lost(profile: Profile) -> None:
    """Every table, string, metric and circumstance comes back, and writing it again gives the same bytes."""
    data = native.dumps(profile)
    again = native.loads(data)
    assert same(profile, again)
    command = profile.meta.command
    assert again.meta == profile.meta or (command is not None and again.meta.command == (command[0], "caf\\udce9"))
    assert native.dumps(again) == native.dumps(native.loads(native.dumps(again)))
    assert not any(column.flags.writeable for column in again.nodes.columns().values())


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.proftool")), ids=lambda p: p.stem)
def test_every_version_ever_written_is_read(path: Path) -> None:
    """The kept file of each version has the same content still."""
    profile = native.format.read(path)
    assert profile.has_metric("wall_time")
    assert len(profile.nodes) == 4
    assert [profile.text(i) for i in profile.functions.qualname] == ["main", "Shop.total", "outer.<locals>.inner", "<lambda>"]
    assert metric_total(profile, 0) == 42_000_000
    assert profile.meta.command == ("app.py", "--größe")


def test_a_kept_file_exists_for_every_version() -> None:
    """Raising the version means to keep a file of it."""
    assert {p.stem for p in GOLDEN.glob("*.proftool")} == {f"v{n}" for n in range(1, native.VERSION + 1)}


def test_newer_versions_are_refused() -> None:
    """The error names both versions and what to do."""
    data = bytearray((GOLDEN / "v1.proftool").read_bytes())
    data[10:12] = (native.VERSION + 1).to_bytes(2, "little")
    with pytest.raises(NewerVersion) as caught:
        native.loads(bytes(data))
    assert f"its version is {native.VERSION + 1}" in caught.value.cause
    assert "pip install --upgrade proftool" in caught.value.fix


def test_upgraders_run_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of an older version passes through each step up to now."""
    steps: list[int] = []

    def step(version: int) -> None:
        def upgrade(header: bytes) -> bytes:
            steps.append(version)
            return header

        monkeypatch.setitem(native.UPGRADES, version, upgrade)

    data = (GOLDEN / "v1.proftool").read_bytes()
    step(1)
    step(2)
    monkeypatch.setattr(native, "VERSION", 3)
    assert len(native.loads(data).nodes) == 4
    assert steps == [1, 2]


def test_every_truncation_and_every_flipped_bit_is_refused() -> None:
    """Whatever happens to a file, it is corrupt or newer, with the place of the fault; never read wrongly, never a crash."""
    data = (GOLDEN / "v1.proftool").read_bytes()
    for size in range(len(data)):
        with pytest.raises(CorruptProfile) as caught:
            native.loads(data[:size])
        assert any(c.isdigit() for c in caught.value.cause) or size >= 10
    for at in range(len(data)):
        for bit in range(8):
            wrong = bytearray(data)
            wrong[at] ^= 1 << bit
            with pytest.raises((CorruptProfile, NewerVersion)):
                native.loads(bytes(wrong))


def test_garbage_with_a_right_checksum_is_refused() -> None:
    """The checksum is no protection against someone who can compute it."""
    data = (GOLDEN / "v1.proftool").read_bytes()
    header_size = int.from_bytes(data[12:16], "little")
    header = zlib.decompress(data[28 : 28 + header_size])
    rng = random.Random(5)

    def build(header: bytes, body: bytes) -> bytes:
        packed = zlib.compress(header)
        return native._PREFIX.pack(native.MAGIC, 1, len(packed), len(body), zlib.crc32(packed + body)) + packed + body

    body = data[28 + header_size :]
    refused = 0
    for _ in range(1500):
        changed = bytearray(header)
        for _ in range(rng.randint(1, 3)):
            match rng.randint(0, 2):
                case 0:
                    changed[rng.randrange(len(changed))] = rng.randrange(256)
                case 1:
                    at = rng.randrange(len(changed))
                    changed[at:at] = rng.choice([b"9", b"-", b"0", b"[" * 2000, b'"', b"null", b"1e30"])
                case _:
                    del changed[rng.randrange(len(changed))]
        try:
            native.loads(build(bytes(changed), body))
        except (CorruptProfile, NewerVersion):
            refused += 1
    assert refused > 700
    for bad in (zlib.compress(b"\0" * 50_000_000), b"", b"\0" * 100, body[:-1], body + b"x"):
        with pytest.raises(CorruptProfile):
            native.loads(build(header, bad))
    with pytest.raises(CorruptProfile):
        native.loads(build(b"[" * 1_000_000, body))
