"""The names of `import proftool` that read: load a profile, compare two sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model.sides import flagged, sampled
from store.stores import store_in

import proftool
from proftool.errors import NotComparable, RunNotFound, UsageError
from proftool.model.tree import metric_total


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: five runs labelled `old`, five labelled `new` with `transform` 30 % slower."""
    store = store_in(tmp_path)
    rng = np.random.default_rng(7)
    for label, plant in (("old", {}), ("new", {"transform": 1.3})):
        for _ in range(5):
            store.add(sampled(rng, plant=plant), label=label)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROFTOOL_STORE", raising=False)
    return tmp_path


def test_load_takes_any_name_of_a_run(project: Path) -> None:
    """The newest by its place and by its label is one profile; a name of nothing says so."""
    assert metric_total(proftool.load("@latest"), 0) == metric_total(proftool.load("new"), 0)
    with pytest.raises(RunNotFound):
        proftool.load("nobody")


def test_diff_of_two_labels_takes_all_their_runs(project: Path) -> None:
    """Five against five find what was planted."""
    found = proftool.diff("old", "new")
    assert (len(found.base.metas), len(found.new.metas)) == (5, 5)
    assert flagged(found) == {"transform": "slower"}


def test_diff_takes_profiles_and_names_alike(project: Path) -> None:
    """A profile against itself is empty; several profiles are a side; a name beside them is looked up."""
    one = proftool.load("old")
    same = proftool.diff(one, one)
    assert same.base_total == same.new_total
    assert not flagged(same)
    mixed = proftool.diff([proftool.load("@latest"), proftool.load("@latest~1")], "old")
    assert (len(mixed.base.metas), len(mixed.new.metas), mixed.new.name) == (2, 5, "old")


def test_diff_refuses_what_is_not_comparable(project: Path) -> None:
    """A metric that no side holds."""
    with pytest.raises(NotComparable):
        proftool.diff("old", "new", metric="peak_bytes")


def test_a_recording_knows_its_mode(project: Path) -> None:
    """A mode that does not exist is refused before anything starts."""
    with pytest.raises(UsageError):
        proftool.profile(mode="nothing")
