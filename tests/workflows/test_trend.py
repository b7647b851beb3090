"""One function over runs: the command that ran it last, names that are told apart, runs of an older store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from store.stores import profile, store_in

from proftool.cli.app import main
from proftool.cli.trend import spark
from proftool.errors import RunNotFound, UsageError
from proftool.workflows.trend import trend


def test_trend_follows_the_command_that_ran_it_last(tmp_path: Path) -> None:
    """Runs of another command are other work; `every` takes them in."""
    store = store_in(tmp_path)
    for number, command in ((1, "b"), (1, "a"), (1, "b"), (1, "a")):
        store.add(profile(number, command=("python", command)))
    found = trend("function_1_0", store)
    assert found.command == ("python", "a")
    assert (len(found.trend.points), found.other_commands) == (2, 1)
    assert len(trend("function_1_0", store, every=True).trend.points) == 4
    assert len(trend("app:function_1_0", store, every=True, limit=3).trend.points) == 3


def test_runs_of_an_older_store_are_taken_in_when_they_are_asked_for(tmp_path: Path) -> None:
    """A run without rows is opened once; one whose profile is gone is left out."""
    store = store_in(tmp_path)
    runs = [store.add(profile(1, commit=f"{n:040}")) for n in range(3)]
    with store.database.plain(write=True) as connection:
        assert connection is not None
        connection.execute("DELETE FROM function_values")
        connection.execute("DELETE FROM functions")
    store.blobs.remove([runs[1].blob])
    assert [point.run_id for point in trend("function_1_0", store).trend.points] == [runs[0].id, runs[2].id]
    store.blobs.remove([runs[0].blob, runs[2].blob])
    assert len(trend("function_1_0", store).trend.points) == 2


def test_name_of_nobody_or_of_several_is_told(tmp_path: Path) -> None:
    """With what is there."""
    store = store_in(tmp_path)
    with pytest.raises(RunNotFound, match="no run has"):
        trend("function", store)
    store.add(profile(1))
    with pytest.raises(UsageError, match="no trend of `weight`"):
        trend("function_1_0", store, metric="weight")


def test_command_line_shows_a_line_and_a_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For people and for programs."""
    monkeypatch.chdir(tmp_path)
    store = store_in(tmp_path)
    runs = [store.add(profile(1), label="first"), store.add(profile(1))]
    assert main(["trend", "function_1_0"]) == 0
    told = capsys.readouterr().out
    assert "app:function_1_0  wall_time, self, over 2 runs" in told
    assert "1.00 ms" in told
    assert main(["trend", "function_1_0", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "proftool.trend/1"
    assert document["function"] == {"name": "function_1_0", "module": "app", "file": "app.py"}
    assert [(one["run"], one["self"], one["label"]) for one in document["points"]] == [
        (runs[0].id, 1_000_000, "first"),
        (runs[1].id, 1_000_000, None),
    ]
    assert main(["trend", "nobody"]) == 7


def test_line_of_bars_keeps_its_peaks() -> None:
    """From 0 to the largest, never wider than asked, no peak lost."""
    assert spark([0, 4, 8], 80) == "▁▅█"
    assert spark([0] * 500 + [9] + [0] * 499, 50).count("█") == 1
    assert len(spark(range(1000), 50)) == 50  # type: ignore[arg-type]
    assert spark([0, 0], 10) == "▁▁"
