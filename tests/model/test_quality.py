"""How far a run can be trusted, with reasons; what is unknown stays unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from text_profile import profile_from_text

from proftool.model.meta import Meta, Pass, Speed
from proftool.model.quality import judge

GOOD = Pass(
    mode="sample", backend="pyinstrument", samples=2000, rate_asked_hz=1000.0, rate_achieved_hz=990.0, duration_ns=2 * 10**9, complete=True
)


def verdict(recorded: Pass, n_cores: int | None = 2) -> tuple[str, tuple[str, ...]]:
    """Of a run with that one pass."""
    answer = judge(profile_from_text("main", meta=Meta(passes=(recorded,))), n_cores=n_cores)
    return answer.verdict, answer.reasons


def test_enough_samples_on_a_quiet_machine_are_good() -> None:
    """No reason is made up."""
    assert verdict(GOOD) == ("good", ())


@pytest.mark.parametrize(
    ("recorded", "expected", "told"),
    [
        (replace(GOOD, samples=120), "weak", "few samples (120)"),
        (replace(GOOD, samples=9), "poor", "only 9 samples"),
        (replace(GOOD, rate_achieved_hz=300.0), "weak", "300 of 1000 samples"),
        (replace(GOOD, missed=400), "weak", "400 samples were missed"),
        (replace(GOOD, complete=False), "weak", "cut short"),
        (replace(GOOD, speed=Speed(load=7.0)), "weak", "load 7.0 on 2 cores"),
        (replace(GOOD, speed=Speed(before_ns=1000, after_ns=1300)), "weak", "speed changed by -23 %"),
        (replace(GOOD, speed=Speed(throttled_ns=50_000_000)), "weak", "50 ms"),
        (replace(GOOD, speed=Speed(steal_share=0.2)), "weak", "20 %"),
    ],
)
def test_what_disturbs_is_named(recorded: Pass, expected: str, told: str) -> None:
    """Each disturbance lowers the verdict and says itself."""
    found, reasons = verdict(recorded)
    assert found == expected
    assert told in reasons[0]


def test_load_without_the_number_of_cores_says_nothing() -> None:
    """A load of seven is nothing on 64 cores."""
    assert verdict(replace(GOOD, speed=Speed(load=7.0)), n_cores=None)[0] == "good"


def test_a_run_of_which_nothing_is_known_is_not_good() -> None:
    """An imported file may hold anything."""
    answer = judge(profile_from_text("main"))
    assert answer.verdict == "weak"
    assert "not known" in answer.reasons[0]
