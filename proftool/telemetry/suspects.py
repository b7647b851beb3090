"""Where an incident comes from: places in the project's code that findings, slow requests, exceptions and the profile point at.

Each witness gives places a share of the trouble, 0..1; places that several name come first. A share is of measured time (or of failed
requests), so that "most likely" is a sum of numbers that stand on the page, and no more than that.

What is compared is the innermost line of the project's own code: time inside a library is its caller's. A lane that served requests counts
with its waiting; all others only with what they worked, for an idle thread waits for ever.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from os.path import isabs, sep
from typing import NamedTuple

from proftool.contracts_incidents import Suspect
from proftool.contracts_telemetry import Finding, Slice
from proftool.telemetry.evidence import Evidence
from proftool.telemetry.tags_code import here, is_launcher, is_project
from proftool.units import NS_PER_S, Unit, people

MAX_SUSPECTS = 5
LEAST = 0.1
"""A smaller share of the trouble is not told."""
_FRAME = re.compile(r'^[ |]*File "([^"]+)", line (\d+), in (.+)$', re.MULTILINE)  # the bars are those of an exception group
_WEIGHT = {"high": 1.0, "medium": 0.7, "low": 0.4}
_MEMORY = frozenset({"leak"})
_MOST = 0.7
"""Of what is slow, where requests failed: a timeout may come of it, an exception is what failed."""


class Place(NamedTuple):
    """A line of the project's code."""

    function: str
    file: str
    line: int


@dataclass(slots=True)
class _Case:
    place: Place
    score: float = 0.0
    sources: list[str] = field(default_factory=list[str])
    evidence: list[str] = field(default_factory=list[str])
    advice: str = ""
    confidence: float = 0.0
    route: str | None = None


class _Cases:
    def __init__(self) -> None:
        self._all: list[_Case] = []

    def add(self, place: Place, share: float, source: str, sentence: str, confidence: str, *, advice: str = "", route: str | None = None):
        case = next((one for one in self._all if _same(one.place, place)), None)
        if case is None:
            case = _Case(place)
            self._all.append(case)
        case.score += share
        if source not in case.sources:
            case.sources.append(source)
            case.evidence.append(sentence)
        case.advice, case.route = case.advice or advice, case.route or route
        case.confidence = max(case.confidence, _WEIGHT[confidence])

    def suspects(self, *, failures: bool) -> tuple[Suspect, ...]:
        """Most likely first; of failures those first that were raised there, and no other is sure."""

        def is_aside(case: _Case) -> bool:
            return failures and "exception" not in case.sources

        def confidence(case: _Case) -> float:
            # Two witnesses that agree are worth more than one.
            found = case.confidence if len(case.sources) < 2 else min(1.0, case.confidence + 0.3)
            return min(found, _MOST) if is_aside(case) else found

        found = sorted(self._all, key=lambda case: (is_aside(case), -case.score))[:MAX_SUSPECTS]
        return tuple(
            Suspect(
                function=case.place.function,
                file=case.place.file,
                line=case.place.line,
                sources=tuple(case.sources),
                confidence=_word(confidence(case)),
                evidence=tuple(case.evidence),
                advice=case.advice,
                route=case.route,
            )
            for case in found
            if case.score >= LEAST
        )


def suspects(evidence: Evidence) -> tuple[Suspect, ...]:
    """The places, most likely first; empty where nothing points anywhere."""
    cases = _Cases()
    for one in evidence.findings:
        _finding(cases, one, evidence)
    if evidence.about != "memory":
        _requests(cases, evidence)
        _exceptions(cases, evidence)
    _profile(cases, evidence)
    return cases.suspects(failures=evidence.about == "failures")


# --- witnesses --------------------------------------------------------------------------------------------------------------


def _finding(cases: _Cases, one: Finding, evidence: Evidence) -> None:
    if (one.id in _MEMORY) != (evidence.about == "memory"):
        return
    if evidence.route is not None and one.route is not None and one.route != evidence.route:
        return
    share, sentence = _WEIGHT[one.confidence], one.evidence
    if one.count > 1:
        sentence += f" ({one.count:,} times)"
    if one.first_ns < evidence.began_ns - 600 * NS_PER_S:
        # It was there while all was well.
        share, sentence = share / 3, f"{sentence}; it was seen before this began as well"
    cases.add(Place(one.function, one.file, one.line), share, one.id, sentence, one.confidence, advice=one.advice, route=one.route)


def _requests(cases: _Cases, evidence: Evidence) -> None:
    """Where the slow requests spent their time: by samples, and by calls whose caller is known."""
    entries = [span for span in evidence.spans if span.is_entry and span.kept in ("slow", "asked", "joined") and span.status != "error"]
    entries = entries or [span for span in evidence.spans if span.is_entry]
    whole_ns = sum(span.duration_ns for span in entries)
    if not whole_ns:
        return
    ids = {span.trace_id for span in entries}
    named = f"the time of {len(entries):,} slow {'request' if len(entries) == 1 else 'requests'}"
    waited: Counter[Place] = Counter()
    what: dict[Place, str] = {}
    for span in evidence.spans:
        function, file, line = (span.attributes.get(f"code.{name}") for name in ("function.name", "file.path", "line.number"))
        if span.trace_id in ids and isinstance(function, str) and isinstance(file, str) and isinstance(line, int):
            waited[Place(function, file, line)] += span.duration_ns
            what[Place(function, file, line)] = span.name
    for place, ns in waited.most_common(MAX_SUSPECTS):
        if (share := min(1.0, ns / whole_ns)) >= LEAST:
            cases.add(place, share, "slow requests", f"{share:.0%} of {named} went into `{what[place]}`, called here", _sure(share))
    sampled = _by_place((one for one in evidence.traces if one.trace_id in ids), lambda _: True)
    for place, ns in _top(sampled.wall):
        share = min(1.0, ns / whole_ns)
        if share >= LEAST and not any(_same(place, known) for known in waited if waited[known] >= LEAST * whole_ns):
            cases.add(place, share, "slow requests", f"{share:.0%} of {named} was spent in this line", _sure(share))


def _exceptions(cases: _Cases, evidence: Evidence) -> None:
    failed = [span for span in evidence.spans if span.status == "error"]
    raised: Counter[Place] = Counter()
    kinds: dict[Place, str] = {}
    seen: set[str] = set()
    for span in failed:
        for event in span.events:
            stack = event.attributes.get("exception.stacktrace")
            if event.name != "exception" or not isinstance(stack, str) or span.trace_id in seen:
                continue
            mine = [match.groups() for match in _FRAME.finditer(stack) if is_project(match[1])]
            if mine:
                file, line, function = mine[-1]
                place = Place(function, file.removeprefix(here() + sep), int(line))  # as findings and spans call it
                raised[place] += 1
                kinds[place] = str(event.attributes.get("exception.type", "an exception"))
                seen.add(span.trace_id)
    whole = len({span.trace_id for span in failed})
    for place, count in raised.most_common(MAX_SUSPECTS):
        share = count / whole * (1.0 if evidence.about == "failures" else 0.3)
        if share >= LEAST:
            sentence = f"{kinds[place]} left this line in {count:,} of {whole:,} failed requests that were kept"
            cases.add(place, share, "exception", sentence, _sure(count / whole))


def _profile(cases: _Cases, evidence: Evidence) -> None:
    """What takes more time a second than it did in the good time; without one, what takes most."""
    if not evidence.bad or evidence.about == "memory":
        return

    def serves(task: str) -> bool:
        return task == evidence.route if evidence.route is not None else True

    bad, good = _by_place(evidence.bad, serves), _by_place(evidence.good, serves)
    if not bad.seconds:
        return
    more: dict[Place, float] = {}
    for place, ns in bad.wall.items():
        usual = good.wall.get(place, 0) / good.seconds if good.seconds else 0.0
        if (change := ns / bad.seconds - usual) > 0:
            more[place] = change
    whole = sum(more.values())
    for place, change in _top(more):
        share = change / whole
        seen = bad.samples[place]
        expected = good.samples.get(place, 0) * bad.seconds / good.seconds if good.seconds else 0.0
        # Counts vary by their root; eight of it are more than load and chance make.
        if share < LEAST or (good.seconds and seen - expected < 4 * (seen + expected + 1) ** 0.5):
            continue
        now = people(round(bad.wall[place] / bad.seconds * 60), Unit.NANOSECONDS)
        if good.seconds:
            before = round(good.wall.get(place, 0) / good.seconds * 60)
            was = people(before, Unit.NANOSECONDS) if before else "nothing"
            sentence = f"takes {now} of every minute of a process, before it was {was}: {share:.0%} of what was added"
        else:
            sentence = f"takes {now} of every minute of a process, {share:.0%} of all; there is no profile of a good time to compare with"
        confidence = "low" if not good.seconds else _sure(share)
        cases.add(place, share if good.seconds else share / 2, "profile", sentence, confidence, route=evidence.route)


# --- profiles by place ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Times:
    seconds: float = 0.0
    wall: Counter[Place] = field(default_factory=Counter[Place])
    samples: Counter[Place] = field(default_factory=Counter[Place])


def _by_place(slices: Iterable[Slice], serves: Callable[[str], bool]) -> _Times:
    """Time and samples of each innermost line of the project, over all slices; `serves` judges a lane's task."""
    from proftool.model.profile import Category, ints

    found = _Times()
    for one in slices:
        profile = one.profile
        found.seconds += max(0, one.end_ns - one.start_ns) / NS_PER_S
        f, frames, cells = profile.functions, profile.frames, profile.cells
        files = [profile.text(index) for index in ints(f.file)]
        # What lies outside of the project and in no package is somebody's own as well: a service that is started from elsewhere.
        kinds = zip(ints(f.category), files, strict=True)
        own = [(c == Category.PROJECT and not is_launcher(file)) or (isabs(file) and is_project(file)) for c, file in kinds]
        places = [
            Place(profile.text(int(f.qualname[function])), files[function], line) if own[function] and files[function] else None
            for function, line in zip(ints(frames.function), ints(frames.line), strict=True)
        ]
        owner: list[Place | None] = []
        for parent, frame in zip(ints(profile.nodes.parent), ints(profile.nodes.frame), strict=True):
            owner.append(places[frame] or (owner[parent] if parent >= 0 else None))
        tasks = [profile.text(index) if index >= 0 else "" for index in ints(profile.lanes.task)]
        wall, waiting, samples = (profile.metric_index(name) for name in ("wall_time", "waiting_time", "samples"))
        for node, lane, metric, value in zip(ints(cells.node), ints(cells.lane), ints(cells.metric), ints(cells.value), strict=True):
            place = owner[node]
            if place is None or not serves(tasks[lane]):
                continue
            if metric == wall:
                found.wall[place] += value
            elif metric == waiting and not tasks[lane]:
                found.wall[place] -= value
            elif metric == samples:
                found.samples[place] += value
    return found


def _top(times: Mapping[Place, float]) -> list[tuple[Place, float]]:
    return sorted(times.items(), key=lambda item: -item[1])[:MAX_SUSPECTS]


def _same(a: Place, b: Place) -> bool:
    """One place however the witnesses call its file; the lines of one function are one place."""
    ends = a.file.endswith(b.file) or b.file.endswith(a.file)
    return ends and a.function.rpartition(".")[2] == b.function.rpartition(".")[2]


def _sure(share: float) -> str:
    return "high" if share >= 0.6 else "medium" if share >= 0.3 else "low"


def _word(weight: float) -> str:
    return "high" if weight >= 1 else "medium" if weight >= 0.7 else "low"
