"""Advice says the same in every report: where, what was measured, what to do, and what that gave where it was measured."""

from __future__ import annotations

import json

import pytest

from proftool import registry
from proftool.contracts import ReportOptions
from proftool.model.builder import ProfileBuilder
from proftool.model.insight import Confidence, Insight
from proftool.model.meta import Meta
from proftool.model.profile import WALL_TIME, Category, Profile
from proftool.reports import advice

FOUND = Insight(
    id="deep-copy",
    function="snapshot",
    file="shop.py",
    line=4,
    confidence=Confidence.HIGH,
    share=0.4,
    evidence="40.0 % of the working time (2 ms) copies objects by `copy.deepcopy`",
    advice="copy only what is changed",
    link="https://docs.python.org/3/library/copy.html",
    metric="wall_time",
    effect="measured: 3.1–3.6× faster",
)


@pytest.fixture
def profile() -> Profile:
    b = ProfileBuilder((WALL_TIME,), Meta(command=("shop.py",)))
    frame = b.frame(b.function("snapshot", module="shop", file="shop.py", first_line=3, category=Category.PROJECT), 4)
    b.add(b.node(-1, frame), b.lane(), 0, 5_000_000)
    return b.build()


@pytest.mark.parametrize("name", ["markdown", "html", "json", "summary"])
def test_every_report_shows_what_was_found(profile: Profile, name: str) -> None:
    """Place, evidence and advice in each; nothing of it where nothing was found."""
    shown = registry.report(name).render(profile, ReportOptions(insights=(FOUND,))).decode()
    for told in ("snapshot", "shop.py", "40.0 % of the working time", "copy only what is changed"):
        assert told in shown, told
    assert "copy only what is changed" not in registry.report(name).render(profile, ReportOptions()).decode()


def test_markdown_gives_each_its_line_with_its_effect_and_rule(profile: Profile) -> None:
    """A list entry, linked to what explains it."""
    lines = registry.report("markdown").render(profile, ReportOptions(insights=(FOUND,))).decode().splitlines()
    at = lines.index("#### Advice")
    assert lines[at + 2] == (
        "- `snapshot shop.py:4` 40.0 % of the working time (2 ms) copies objects by `copy.deepcopy` → copy only what is changed; "
        "measured: 3.1–3.6× faster ([deep-copy](https://docs.python.org/3/library/copy.html), confidence high)"
    )


def test_the_terminal_says_the_effect_below_the_advice() -> None:
    """`proftool show` prints every field."""
    lines = [line.strip() for line in advice.text((FOUND,), ReportOptions()).splitlines()]
    assert lines[2:4] == ["→ copy only what is changed", "measured: 3.1–3.6× faster"]


def test_the_document_has_metric_and_effect(profile: Profile) -> None:
    """Programs read them too."""
    (told,) = json.loads(registry.report("json").render(profile, ReportOptions(insights=(FOUND,))))["insights"]
    assert (told["metric"], told["effect"]) == ("wall_time", "measured: 3.1–3.6× faster")
