"""The verb `diff` over a real store: sides by label, the document, the text, the Markdown, statuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from model.sides import sampled
from store.stores import store_in
from text_profile import profile_from_text

from proftool.contracts import ReportOptions
from proftool.errors import NotComparable, RunNotFound
from proftool.model.meta import Meta, Pass
from proftool.model.profile import PEAK_BYTES
from proftool.reports.diff import render_text
from proftool.reports.diff_document import diff_document
from proftool.reports.diff_markdown import render_markdown
from proftool.workflows.compare import Compared, compare, side_document


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Five runs labelled `old`, five labelled `new` with `transform` 30 % slower, one of memory."""
    store = store_in(tmp_path)
    rng = np.random.default_rng(7)
    for label, plant in (("old", {}), ("new", {"transform": 1.3})):
        for _ in range(5):
            store.add(sampled(rng, plant=plant), label=label)
    store.add(profile_from_text("main\n= 5", metric=PEAK_BYTES), label="memory")
    return tmp_path


def document(compared: Compared) -> dict[str, object]:
    """The JSON document."""
    d = compared.diff
    return diff_document(
        d, side_document(compared.base, "old", d.base.metas[-1], 5), side_document(compared.new, "new", d.new.metas[-1], 5)
    )


def test_a_label_names_all_its_runs_as_a_side(project: Path) -> None:
    """Five against five, the planted function first."""
    compared = compare("old", "new", store_in(project), project)
    assert (len(compared.diff.base.metas), len(compared.diff.new.metas)) == (5, 5)
    told = document(compared)
    first = told["functions"][0]  # pyright: ignore[reportIndexIssue]
    assert (first["name"], first["verdict"]) == ("transform", "slower")
    assert told["schema"] == "proftool.diff/1"
    assert told["base"]["label"] == "old"  # pyright: ignore[reportIndexIssue]
    json.dumps(told, allow_nan=False)


def test_of_a_mixed_side_only_the_comparable_runs_are_taken(project: Path) -> None:
    """A label that bears runs of time and of memory is compared in the kind of the other side."""
    store = store_in(project)
    bytes_ = Meta(passes=(Pass(mode="memory", backend="memray"),))
    store.add(profile_from_text("main\n= 5", metric=PEAK_BYTES, meta=bytes_), label="old")
    compared = compare("old", "new", store, project)
    assert len(compared.diff.base.metas) == 5
    assert compared.diff.metric.name == "wall_time"


def test_texts_name_what_changed(project: Path) -> None:
    """Terminal and Markdown carry the paragraph and the flagged row."""
    answer = compare("old", "new", store_in(project), project).diff
    text, markdown = render_text(answer, ReportOptions()), render_markdown(answer)
    assert "`transform` is slower" in " ".join(text.split())
    assert any(line.startswith("slower") and "app:transform" in line for line in text.splitlines())
    assert "| slower | `app:transform` |" in markdown
    assert "\x1b" not in text
    assert "\x1b[31mslower" in render_text(answer, ReportOptions(color=True))


def test_unknown_and_unlike_sides_are_errors(project: Path) -> None:
    """Status 7 and status 8."""
    with pytest.raises(RunNotFound):
        compare("old", "nothing", store_in(project), project)
    with pytest.raises(NotComparable) as told:
        compare("old", "memory", store_in(project), project)
    assert told.value.exit_code == 8


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("diff", "old", "new"), 0),
        (("diff", "old", "new", "--fail-on", "self>5% q<0.05"), 1),
        (("diff", "old", "new", "--fail-on", "self>90% q<0.05"), 0),
        (("diff", "old", "memory"), 8),
        (("diff", "old", "new", "--fail-on", "nonsense"), 2),
        (("gate", "old", "new"), 1),
    ],
)
def test_command_line_ends_as_promised(project: Path, words: tuple[str, ...], status: int) -> None:
    """Exit statuses of `diff` and `gate`; the answer on stdout, never a traceback."""
    done = subprocess.run([sys.executable, "-m", "proftool", *words], cwd=project, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert ("transform" in done.stdout) == (status in (0, 1))


def test_forms_of_a_written_diff(project: Path) -> None:
    """`-o` writes Markdown and JSON by the file's ending."""
    for name, start in (("d.md", "### proftool"), ("d.json", "{")):
        done = subprocess.run(
            [sys.executable, "-m", "proftool", "diff", "old", "new", "-o", name], cwd=project, capture_output=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert (project / name).read_text().startswith(start)
