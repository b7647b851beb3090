"""Exponents of known power laws, and of functions in traced profiles drawn by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proftool.model.builder import ProfileBuilder
from proftool.model.growth import fit, growth
from proftool.model.profile import CALLS, ROOT, WALL_TIME, Profile


@given(st.floats(0.2, 3.0), st.integers(10, 1000))
def test_a_power_law_gives_its_exponent(exponent: float, factor: int) -> None:
    """value = factor · n ** exponent, up to rounding to whole units."""
    sizes = [1000, 4000, 16000, 64000]
    found = fit(sizes, [round(1000 * factor * n**exponent) for n in sizes])
    assert found is not None
    assert found.estimate == pytest.approx(exponent, abs=0.01)


def test_one_disturbed_run_does_not_bend_it() -> None:
    """Tenfold time at one of five sizes moves the range, not the estimate."""
    sizes = [1, 10, 100, 1000, 10000]
    found = fit(sizes, [n * 100 * (10 if n == 100 else 1) for n in sizes])
    assert found is not None
    assert found.estimate == pytest.approx(1.0, abs=0.05)
    assert found.high > 1.5


def test_one_size_with_a_value_says_nothing() -> None:
    """A slope needs two points."""
    assert fit([10, 100], [0, 5]) is None


def traced(rows: dict[str, tuple[int, int]]) -> Profile:
    builder = ProfileBuilder((WALL_TIME, CALLS))
    lane = builder.lane(pid=1, tid=1)
    for name, (own, calls) in rows.items():
        function = builder.function(name=name, qualname=name, module="app", file="app.py", first_line=3)
        node = builder.node(ROOT, builder.frame(function))
        builder.add(node, lane, 0, own)
        builder.add(node, lane, 1, calls)
    return builder.build()


def test_the_function_that_will_hurt_comes_first() -> None:
    """A small quadratic one passes a large linear one at ten times the size; calls and time are told apart."""
    sizes = [1000, 10000]
    profiles = [
        [traced({"linear": (20_000_000, 1000), "square": (1_000_000, 1)})],
        [traced({"linear": (200_000_000, 10000), "square": (100_000_000, 1), "tiny": (900_000, 5)})],
    ]
    first, second = growth(sizes, profiles)
    assert (first.key.qualname, second.key.qualname) == ("square", "linear")
    assert first.time.estimate == pytest.approx(2.0)
    assert first.call_count is None
    assert second.call_count is not None
    assert second.call_count.estimate == pytest.approx(1.0)


def test_a_disturbed_run_does_not_bend_the_exponent() -> None:
    """Of several runs of one size the least time of each function counts."""
    small = [traced({"square": (50_000_000, 1)}), traced({"square": (1_000_000, 1)}), traced({"square": (9_000_000, 1)})]
    (found,) = growth([1000, 10000], [small, [traced({"square": (100_000_000, 1)})]])
    assert found.self_ns == (1_000_000, 100_000_000)
    assert found.time.estimate == pytest.approx(2.0)
