"""Every rule speaks of the program that has its cause, names the function, and is silent on the near one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proftool import insights, registry
from proftool.model.insight import Confidence, Insight
from proftool.model.profile import Profile

pytestmark = [pytest.mark.full, pytest.mark.xdist_group("insights")]  # five minutes; one worker makes the recordings

Recorded = Callable[[str, str], Profile]

PLANTED = [
    ("regex-compile", "sample", "regex_compiled_in_a_loop", "regex_compiled_once"),
    ("regex-compile", "trace", "regex_compiled_in_a_loop", "regex_compiled_once"),
    ("strptime", "sample", "dates_by_strptime", "dates_by_fromisoformat"),
    ("strptime", "trace", "dates_by_strptime", "dates_by_fromisoformat"),
    ("deep-copy", "sample", "deep_copies", "shallow_copies"),
    ("deep-copy", "trace", "deep_copies", "shallow_copies"),
    ("json", "sample", "json_in_the_hot_path", "json_once"),
    ("json", "trace", "json_in_the_hot_path", "json_once"),
    ("string-building", "sample", "string_built_by_plus", "string_built_by_join"),
    ("lock-wait", "sample", "lock_held_by_another", "lock_free"),
    ("blocked-loop", "sample", "blocks_the_loop", "awaits"),
    ("busy-polling", "trace", "polls", "sleeps_once"),
    ("repeated-query", "trace", "query_for_each_row", "query_for_all_rows"),
    ("import-time", "sample", "imports_a_lot", "imports_little"),
    ("import-time", "trace", "imports_a_lot", "imports_little"),
    # What the suites of other people's packages showed: a plugin manager calls a library that imports, a fixture makes 60,000 objects.
    ("import-time", "sample", "imports_a_lot", "a_library_imports"),
    ("import-time", "trace", "imports_a_lot", "a_library_imports"),
    ("temporaries", "memory", "makes_temporaries", "makes_few_temporaries"),
    ("gc-pressure", "sample", "many_small_objects", "many_small_objects_uncollected"),
    ("gc-pressure", "sample", "many_small_objects", "few_large_objects"),
    ("brief-peak", "memory", "reads_all_at_once", "reads_in_pieces"),
    ("brief-peak", "memory", "reads_all_at_once", "holds_one_big_list"),
    ("row-loop", "sample", "rows_of_a_frame", "columns_of_a_frame"),
    ("row-loop", "trace", "rows_of_a_frame", "columns_of_a_frame"),
    ("peak", "memory", "holds_one_big_list", "holds_little"),
    ("temporaries", "memory", "makes_temporaries", "reuses_a_buffer"),
    ("leak", "memory", "leaks", "fills_a_table_once"),
]


def of(profile: Profile, rule: str) -> list[Insight]:
    return [insight for insight in insights.find(profile) if insight.id == rule]


@pytest.mark.parametrize(("rule", "mode", "guilty", "innocent"), PLANTED, ids=["-".join(case) for case in PLANTED])
def test_a_rule_speaks_of_its_cause_and_of_nothing_else(recorded: Recorded, rule: str, mode: str, guilty: str, innocent: str) -> None:
    """Found with the function and its file in the one; not a word in the other."""
    found = of(recorded(guilty, mode), rule)
    assert found, insights.find(recorded(guilty, mode))
    assert guilty in found[0].function or rule == "import-time"
    assert (found[0].file or "").endswith("programs.py")
    assert found[0].line
    assert 0 < found[0].share <= 1
    assert not of(recorded(innocent, mode), rule)


@pytest.mark.parametrize("mode", ["sample", "trace", "memory"])
def test_a_plain_program_gets_no_advice(recorded: Recorded, mode: str) -> None:
    """Arithmetic in a loop: nothing to say."""
    assert not [i for i in insights.find(recorded("plain", mode)) if i.id != "import-time"]


def test_evidence_says_how_much_and_how_sure(recorded: Recorded) -> None:
    """The share, the time and, in a trace, the calls."""
    (first, *_) = of(recorded("deep_copies", "trace"), "deep-copy")
    assert "%" in first.evidence
    assert "calls" in first.evidence
    assert first.confidence is Confidence.HIGH


def test_each_rule_bears_the_name_of_its_row() -> None:
    """The registry's names are the rules' own."""
    assert [rule.id for rule in registry.rules()] == list(registry.RULES)
