"""The verbs over history, as functions and as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from store.stores import profile, store_in
from text_profile import profile_from_text

from proftool.contracts_store import RunQuery
from proftool.errors import AmbiguousRun, RunNotFound, UsageError
from proftool.formats import native
from proftool.model.builder import ProfileBuilder
from proftool.model.profile import CPU_TIME, PREEMPTED_TIME, ROOT, WALL_TIME
from proftool.workflows.history import (
    comparable_before,
    export_run,
    label_run,
    list_document,
    list_runs,
    prune_runs,
    remove_runs,
    write_file,
)
from proftool.workflows.imports import import_files


def test_list_document_has_the_published_keys(tmp_path: Path) -> None:
    """RUN as programs read it, JSON all through."""
    store = store_in(tmp_path)
    store.add(profile(7), label="x")
    store.add(profile(8, commit=None))
    document = json.loads(json.dumps(list_document(list_runs(store))))
    assert document["schema"] == "proftool.list/1"
    newest, run = document["runs"]
    assert newest["git"] is None
    assert run["git"] == {"commit": "a1b2c3d4" * 5, "branch": "main", "dirty": True}
    assert run["quality"] == {"verdict": "weak", "reasons": ["few samples"], "samples": 7, "rate_asked_hz": 100.0, "rate_achieved_hz": 99.5}
    assert {key: run[key] for key in ("label", "modes", "command", "exit_status", "duration_s")} == {
        "label": "x", "modes": ["sample"], "command": ["python", "app.py"], "exit_status": 3, "duration_s": 1.5,
    }  # fmt: skip


def test_the_run_before_is_one_that_a_diff_takes(tmp_path: Path) -> None:
    """The same command by another clock is left out: its metrics are others."""
    store = store_in(tmp_path)
    like = store.add(profile(1))
    with_cpu_clock = profile_from_text("main", metric=CPU_TIME, meta=profile(2).meta)
    store.add(with_cpu_clock)
    assert comparable_before(store.add(profile(3)), store) == like


def test_a_run_that_knows_its_time_in_line_is_offered_one_that_does_not(tmp_path: Path) -> None:
    """Whether it is known depends on the moment at which a thread ended: no other kind of run."""
    store = store_in(tmp_path)
    unknown = store.add(profile(1))
    builder = ProfileBuilder([WALL_TIME, PREEMPTED_TIME])
    node = builder.node(ROOT, builder.frame(builder.function("main", module="app"), 1))
    builder.add(node, builder.lane(pid=1, tid=1, is_main=True), 1, 5)
    assert comparable_before(store.add(builder.build(profile(2).meta)), store) == unknown


def test_a_name_of_several_runs_is_not_removed_by_accident(tmp_path: Path) -> None:
    """What is removed is gone, so several need `--all`; a wrong name removes nothing."""
    store = store_in(tmp_path)
    runs = [store.add(profile(n), label="same") for n in (1, 2)]
    with pytest.raises(AmbiguousRun, match="names 2 runs"):
        remove_runs(["same"], store, tmp_path)
    with pytest.raises(RunNotFound):
        remove_runs([runs[0].id, "nobody"], store, tmp_path)
    assert len(store.find(RunQuery())) == 2
    assert remove_runs(["same"], store, tmp_path, every=True) == (runs[1], runs[0])
    assert list(store.find(RunQuery())) == []


def test_a_file_cannot_be_labelled_or_removed(tmp_path: Path) -> None:
    """Only stored runs can; the fix is to import it."""
    (tmp_path / "a.proftool").write_bytes(native.dumps(profile(1)))
    with pytest.raises(RunNotFound) as caught:
        label_run("./a.proftool", "x", store_in(tmp_path), tmp_path)
    assert "proftool import" in caught.value.fix
    assert (tmp_path / "a.proftool").exists()


def test_prune_without_a_rule_goes_down_to_the_cap(tmp_path: Path) -> None:
    """An empty command line does not mean everything."""
    store = store_in(tmp_path)
    store.add(profile(1))
    assert prune_runs(store, cap_bytes=10**9).runs == ()
    assert len(prune_runs(store, cap_bytes=1).runs) == 1


def test_exported_native_file_is_imported_as_the_same_profile(tmp_path: Path) -> None:
    """Out and in again changes nothing."""
    store = store_in(tmp_path)
    run = store.add(profile(3))
    done = export_run("@latest", "native", store, tmp_path, max_html_bytes=10**7)
    assert (done.name, done.lost) == (run.id, ())
    write_file(tmp_path / "out.bin", done.content)
    (imported,) = import_files([tmp_path / "out.bin"], store, label="again")
    assert imported.run is not None
    assert (imported.run.blob, imported.run.label) == (run.blob, "again")


def test_missing_file_stores_nothing_of_the_others(tmp_path: Path) -> None:
    """A typing error is told before work is done."""
    (tmp_path / "a").write_bytes(native.dumps(profile(1)))
    store = store_in(tmp_path)
    with pytest.raises(UsageError, match="no file"):
        list(import_files([tmp_path / "a", tmp_path / "b"], store))
    assert list(store.find(RunQuery())) == []


def test_file_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    """The old file stays whole, nothing half is left."""
    with pytest.raises(UsageError, match="cannot write"):
        write_file(tmp_path / "no" / "such", b"x")
    assert list(tmp_path.iterdir()) == []
