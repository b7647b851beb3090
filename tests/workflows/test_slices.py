"""Flame graphs of a service's range are one recording of all that was kept of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from store.stores import profile

from proftool.contracts_telemetry import Slice
from proftool.errors import RunNotFound
from proftool.settings import load
from proftool.store import open_telemetry
from proftool.workflows.slices import Stretch, flame_of_stretch

S = 1_000_000_000


def test_a_range_lasts_from_its_first_slice_to_its_last(tmp_path: Path) -> None:
    """Of two processes; what lies outside of the range does not count, and its totals are the slices'."""
    telemetry = open_telemetry(load(flags={"store": str(tmp_path / "runs")}, environ={}))
    one = Slice(service="shop", pid=7, start_ns=100 * S, end_ns=160 * S, samples=3, profile=profile(5))
    telemetry.add_slices([one, replace(one, pid=8, start_ns=150 * S, end_ns=230 * S), replace(one, start_ns=900 * S, end_ns=960 * S)])
    asked = Stretch(service="shop", since_ns=90 * S, until_ns=300 * S)
    found = flame_of_stretch(telemetry, asked)
    assert {recorded.duration_ns for recorded in found.meta.passes} == {130 * S}
    assert found.cells.value.sum() == 2 * one.profile.cells.value.sum()
    alone = flame_of_stretch(telemetry, replace(asked, until_ns=140 * S))
    assert {recorded.duration_ns for recorded in alone.meta.passes} == {60 * S}


def test_a_range_without_slices_says_what_to_do(tmp_path: Path) -> None:
    """Nothing is drawn of nothing."""
    telemetry = open_telemetry(load(flags={"store": str(tmp_path / "runs")}, environ={}))
    with pytest.raises(RunNotFound, match="nothing was sampled"):
        flame_of_stretch(telemetry, Stretch(service="shop", since_ns=0, until_ns=S))
