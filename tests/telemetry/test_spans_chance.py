"""Which traces are kept by chance: as many as asked, always the same ones, and no more a second than a store can do with."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from telemetry.serving import serving, telemetry_store

from proftool.contracts_telemetry import SpanQuery
from proftool.telemetry import tracing
from proftool.telemetry.request import HOOKS, RANDOM_BITS
from proftool.telemetry.spans import Keep
from proftool.telemetry.spans_chance import Chance
from proftool.units import NS_PER_S

DRAW = random.Random(7)


def second(chance: Chance, requests: int, at_s: float) -> int:
    """So many requests come in the second that ends then; how many of them were kept."""
    kept = sum(chance.chosen(DRAW.getrandbits(128)) for _ in range(requests))
    chance.chosen_count += kept
    chance.settle(round(at_s * NS_PER_S))
    return kept


def begun(keep: Keep) -> Chance:
    """At the time 0."""
    return Chance(keep, now_ns=0)


def test_the_share_is_chosen_by_the_trace_id_alone() -> None:
    """Every service chooses the same traces, and about as many as asked."""
    chance = Chance(Keep(share=0.1))
    assert 900 < sum(chance.chosen(DRAW.getrandbits(128)) for _ in range(10_000)) < 1100  # 1,000 +- 3.3 standard deviations
    assert not any(Chance(Keep(share=0.0)).chosen(n) for n in range(100))
    assert Chance(Keep(share=1.0)).chosen((1 << 128) - 1)


@pytest.mark.parametrize("rate", [2_000, 20_000])
def test_a_busy_service_keeps_about_as_many_as_a_second_may(rate: int) -> None:
    """After the first seconds, whatever it is asked for; 20 or 200 a second without."""
    chance = begun(Keep(share=0.01, most_per_s=10.0))
    kept = [second(chance, rate, at) for at in range(1, 61)]
    assert kept[0] > rate / 200
    assert 7 < sum(kept[10:]) / 50 < 13  # ten, give or take six deviations


def test_a_quiet_service_keeps_its_share() -> None:
    """A second with more than usual changes little, and nothing for long."""
    chance = begun(Keep(share=0.01, most_per_s=10.0))
    assert 220 < sum(second(chance, 500, at) for at in range(1, 61)) < 380  # 300: five a second


def test_the_share_is_back_when_the_load_is_gone() -> None:
    """By itself within seconds, also where nothing came at all."""
    chance = begun(Keep(share=0.01, most_per_s=10.0))
    full = chance.below
    for at in range(1, 21):
        second(chance, 50_000, at)
    assert chance.below < full / 10
    second(chance, 0, 21)
    assert chance.below == full


def test_what_a_busy_service_chooses_the_others_choose_too() -> None:
    """So a trace through several services is kept by those that are less busy."""
    busy, quiet = begun(Keep(share=0.01)), begun(Keep(share=0.01))
    for at in range(1, 21):
        second(busy, 50_000, at)
    ids = [DRAW.getrandbits(128) for _ in range(200_000)]
    chosen = {one for one in ids if busy.chosen(one)}
    assert chosen
    assert chosen < {one for one in ids if quiet.chosen(one)}


def test_all_are_all() -> None:
    """Who asks for every trace gets every trace, and the bound can be lifted."""
    for keep in (Keep(share=1.0), Keep(share=0.5, most_per_s=math.inf)):
        chance = begun(keep)
        full = chance.below
        for at in range(1, 11):
            second(chance, 5000, at)
        assert chance.below == full


def test_no_time_no_judgement() -> None:
    """Two beats at once, or a clock that stands."""
    chance = begun(Keep(share=0.01))
    full, chance.chosen_count = chance.below, 1000
    assert not chance.settle(0)
    assert (chance.below, chance.chosen_count) == (full, 1000)


def test_tracing_follows_its_own_beats(tmp_path: Path) -> None:
    """Requests that were kept by chance are counted, failed ones are not, and those who are asked at the end are told."""
    store = telemetry_store(tmp_path)
    now = tracing.Tracing("shop", store, keep=Keep(slow_ns=10**15, share=0.99, most_per_s=1e-6), every_s=3600)
    now.start()
    for error in [None] * 20 + ["ValueError"] * 20:
        with serving(error=error) as request:
            request.status = 500 if error else 200
    full = (1 << RANDOM_BITS) * 0.99
    assert 12 < now.chance.chosen_count <= 20
    now.writer.flush()
    assert now.chance.below < full * 0.51
    assert HOOKS.spare is not None
    assert HOOKS.spare[2] == now.chance.below
    assert len([span for span in store.find_spans(SpanQuery(limit=100)) if span.kept == "failed"]) == 20
    now.stop()
    assert HOOKS.spare is None
