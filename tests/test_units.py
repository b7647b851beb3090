"""Quantities as people read and type them."""

from __future__ import annotations

import pytest

from proftool.units import Unit, duration_ns, people, percent, signed, size_bytes


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0, Unit.NANOSECONDS, "0 ns"),
        (999, Unit.NANOSECONDS, "999 ns"),
        (1_230, Unit.NANOSECONDS, "1.23 µs"),
        (12_340_000, Unit.NANOSECONDS, "12.3 ms"),
        (999_400_000, Unit.NANOSECONDS, "999 ms"),
        (999_600_000, Unit.NANOSECONDS, "1.00 s"),
        (9_996_000_000, Unit.NANOSECONDS, "10.0 s"),
        (123_000_000_000, Unit.NANOSECONDS, "123 s"),
        (512, Unit.BYTES, "512 B"),
        (64 << 20, Unit.BYTES, "64.0 MiB"),
        ((1 << 20) - 1, Unit.BYTES, "1.00 MiB"),
        (40_000, Unit.COUNT, "40,000"),
        (1.5, Unit.COUNT, "1.5"),
    ],
)
def test_quantities_have_three_digits_and_a_unit_that_suits(value: float, unit: Unit, shown: str) -> None:
    """Also where rounding carries into the next unit."""
    assert people(value, unit) == shown


def test_signs_and_shares() -> None:
    """Both signs are shown, and no share of nothing."""
    assert signed(139_000_000, Unit.NANOSECONDS) == "+139 ms"
    assert signed(-(2 << 20), Unit.BYTES) == "−2.00 MiB"
    assert percent(1, 8) == "12.5 %"
    assert percent(1, 0) == "–"


@pytest.mark.parametrize(
    ("text", "value"),
    [("30s", 30 * 10**9), ("1.5m", 90 * 10**9), ("200ms", 2 * 10**8), ("2h", 7200 * 10**9), ("7", 7 * 10**9), ("5 us", 5000), ("9ns", 9)],
)
def test_durations_are_read(text: str, value: int) -> None:
    """Every unit, fractions, plain seconds."""
    assert duration_ns(text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("1MB", 10**6), ("64 MiB", 64 << 20), ("2k", 2000), ("17", 17), ("1.5GiB", 3 << 29), ("3b", 3)]
)
def test_sizes_are_read(text: str, value: int) -> None:
    """Powers of ten and of two are kept apart."""
    assert size_bytes(text) == value


@pytest.mark.parametrize("text", ["", "s", "-1s", "fast", "1e30h", "nan", "inf"])
def test_nonsense_is_refused_with_an_example(text: str) -> None:
    """The message says what to write."""
    with pytest.raises(ValueError, match="write for example"):
        duration_ns(text)
    with pytest.raises(ValueError, match="write for example"):
        size_bytes(text)
