"""The usual request in C: it does what the Python of the same name does, and no misuse of it ends the process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry.measured import DURATION, fresh, needs_compiled, samples

from proftool.telemetry import asgi_compiled, asgi_exchange, http, metrics
from proftool.telemetry.asgi import ASGIMiddleware
from proftool.telemetry.asgi_compiled import PATH
from proftool.telemetry.asgi_exchange import DONE, Exchange
from proftool.telemetry.request import HOOKS, Request, on_end
from proftool.telemetry.spans import Keep
from proftool.telemetry.tracing import Tracing

__all__ = ["fresh"]  # the fixture is used by being here
PARENT = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
Message = dict[str, Any]


@pytest.fixture(autouse=True)
def compiled() -> Iterator[None]:
    """It is there, and in use again afterwards."""
    needs_compiled()
    yield
    asgi_compiled.use(compiled=True)


class Route:
    """As a framework has one."""

    def __init__(self, path: str) -> None:
        self.path = path


class Odd(dict[str, Any]):
    """A message or scope of a framework's own kind."""


ROUTES = (None, Route("/items/{id}"), Route("/other"))
START, BODY = "http.response.start", "http.response.body"
bodies = st.fixed_dictionaries(
    {"type": st.just(BODY)}, optional={"body": st.sampled_from([b"", b"x", b"y" * 256, b"z" * 5000]), "more_body": st.booleans()}
)
messages = st.one_of(
    st.fixed_dictionaries({"type": st.just(START), "status": st.sampled_from([200, 204, 404, 500, 503])}),
    bodies,
    bodies,
    st.just({"type": "http.response.trailers"}),
)
requests = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "POST", "BREW"]),
        "route": st.sampled_from(ROUTES),
        "messages": st.lists(messages, max_size=5),
        "raises": st.booleans(),
        "kind": st.sampled_from([dict, Odd]),
        "headers": st.sampled_from([[], [(b"host", b"x")], [(b"content-length", b"7")], [PARENT]]),
        "extra": st.sampled_from([{}, {"fastapi": {}}, {"fastapi": {"effective_route_context": ROUTES[2]}}, {"app_root_path": ""}]),
    }
)


def asked(app: ASGIMiddleware, given: Message) -> tuple[list[Any], str | None]:
    """What reached the server of such a request, and what was raised."""
    sent: list[Any] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = given["kind"]({"type": "http", "scheme": "http", "path": "/asked", "method": given["method"], "headers": given["headers"]})
    raised = None
    try:
        asyncio.run(app({"given": given} | scope if given["kind"] is dict else Odd(scope, given=given), receive, send))
    except LookupError as error:
        raised = str(error)
    return sent, raised


async def answers(scope: Message, _: Any, send: Any) -> None:
    """Does what the request's own description says."""
    given = scope["given"]
    if given["route"] is not None:
        scope["route"] = given["route"]
    scope.update(given["extra"])
    for message in given["messages"]:
        await send(message)
    if given["raises"]:
        raise LookupError("as was asked for")


def counted() -> list[tuple[object, ...]]:
    """All that was counted of requests, but for times."""
    timed = ("http.server.request.duration", "http.server.response.first_byte")
    return sorted(
        (one.description.name, one.labels, one.count, None if one.description.name in timed else one.value)
        for one in metrics.REGISTRY.own()
        if one.description.name.startswith("http.server.")
    )


def test_what_runs_is_what_stands_there() -> None:
    """After a change of the C: `python proftool/telemetry/compile_exchange.py`, or install again."""
    from proftool.telemetry import _exchange, compile_exchange

    assert compile_exchange.digest() == _exchange.SOURCE_DIGEST


@settings(deadline=None)
@given(st.lists(requests, min_size=1, max_size=8))
def test_any_requests_are_counted_and_answered_alike(given: list[Message]) -> None:
    """Routes that are known and are not, parts, failures, messages that no server knows: the same reaches the server and is counted."""
    found: list[object] = []
    for compiled in (True, False):
        asgi_compiled.use(compiled=compiled)
        metrics.REGISTRY.__init__()
        http._metrics = None
        app = ASGIMiddleware(answers)
        found.append(([asked(app, one) for one in given * 2], counted()))
    assert found[0] == found[1]


class Told:
    """A hook of tracing's that notes of which requests it was told."""

    def __init__(self) -> None:
        self.told: list[Request] = []

    def __call__(self, request: Request) -> None:
        self.told.append(request)


@contextlib.contextmanager
def spared(slow_ns: int, below: int) -> Iterator[Told]:
    """A hook that may be spared."""
    hook = Told()
    on_end(hook)
    HOOKS.spare = (hook, slow_ns, below)
    yield hook
    HOOKS.end, HOOKS.spare = (), None


def usual(**more: Any) -> Message:
    messages = [{"type": START, "status": 200}, {"type": BODY, "body": b"x"}]
    return {"method": "GET", "route": ROUTES[1], "messages": messages, "raises": False, "kind": dict, "headers": [], "extra": {}} | more


FAILS = [{"type": START, "status": 500}, {"type": BODY, "body": b"x"}]


@pytest.mark.parametrize(
    ("given", "slow_ns", "below", "told"),
    [
        (usual(), 10**12, 0, 0),
        (usual(), 10**12, 1 << 56, 20),
        (usual(), 0, 0, 20),
        (usual(), 10**30, 0, 0),
        (usual(headers=[PARENT]), 10**12, 0, 20),
        (usual(headers=((b"host", b"x"),)), 10**12, 0, 20),
        (usual(messages=FAILS), 10**12, 0, 20),
    ],
    ids=["nothing", "chosen", "slow", "never slow", "a trace came", "other headers", "failed"],
)
def test_tracing_hears_of_what_it_may_keep(given: Message, slow_ns: int, below: int, told: int) -> None:
    """Of the first request of its kind in any case: it is not known yet."""
    app = ASGIMiddleware(answers)
    asked(app, usual())
    with spared(slow_ns, below) as hook:
        asked(app, given)
        hook.told.clear()
        for _ in range(20):
            asked(app, given)
    assert len(hook.told) == told
    assert all(request.trace_id < 1 << 128 for request in hook.told)


def test_a_second_hook_hears_of_all() -> None:
    """Only the one that said so is spared."""
    app, other = ASGIMiddleware(answers), Told()
    asked(app, usual())
    with spared(10**12, 0) as hook:
        on_end(other)
        asked(app, usual())
    assert len(hook.told) == len(other.told) == 1


class Kept:
    """A store that remembers the spans."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def add_spans(self, spans: Any) -> None:
        self.spans += spans

    def add_findings(self, findings: Any) -> None: ...

    def kept_traces(self, ids: Any) -> frozenset[str]:
        return frozenset()


def test_the_share_is_kept_and_has_the_ids_that_were_drawn() -> None:
    """A third of 600 requests; the low bits of a kept id are those that chose it."""
    store, keep = Kept(), Keep(share=1 / 3, slow_ns=10**12, most_per_s=math.inf)
    tracing = Tracing("shop", store, keep=keep)  # type: ignore[arg-type]
    tracing.start()
    app = ASGIMiddleware(answers)
    for _ in range(600):
        asked(app, usual())
    tracing.stop()
    assert 140 < len(store.spans) < 260  # six deviations
    assert all(tracing.chance.chosen(int(span.trace_id, 16)) and span.route == "GET /items/{id}" for span in store.spans)
    assert samples()[0].count == 600


def test_nothing_is_held_and_nothing_is_let_go_twice() -> None:
    """As many references to what every request meets, and as many objects, after two thousand requests as after a hundred."""
    app, given = ASGIMiddleware(answers), usual()
    constants = (DONE, asgi_exchange.GONE, given["route"], HOOKS.end, 0, asgi_exchange.receive_no_more)
    after: list[tuple[int, ...]] = []
    for n in (100, 2000, 2000):
        for _ in range(n):
            asked(app, given)
        gc.collect()
        after.append((len(gc.get_objects()), *(sys.getrefcount(one) for one in constants)))
    for first, last in zip(*after[1:], strict=True):
        assert abs(last - first) < 200  # other threads' objects come and go


@pytest.mark.parametrize("n", range(9))
def test_wrong_arguments_are_refused(n: int) -> None:
    """And not read."""
    for function in (PATH.begin, PATH.start, Exchange.sending, Exchange.done):
        for value in (None, 0, {}, Exchange, DONE, object.__new__(Exchange)):
            with contextlib.suppress(TypeError, AttributeError):
                assert function(*[value] * n) is None  # type: ignore[operator]


class Untold:
    """Is neither there nor not."""

    def __bool__(self) -> bool:
        raise LookupError("untold")


@pytest.mark.parametrize("in_c", [True, False])
def test_a_route_that_cannot_be_told_raises_what_it_raises(in_c: bool) -> None:
    """The server hears of it as it does from Python."""
    asgi_compiled.use(compiled=in_c)
    app = ASGIMiddleware(answers)
    asked(app, usual())
    assert asked(app, usual(extra={"fastapi": {"effective_route_context": Untold()}}))[1] == "untold"


def test_a_cell_that_is_gone_is_not_written_to() -> None:
    """The memory behind a released view may be anybody's: Python says that it is released, and what is known of the route goes."""
    app = ASGIMiddleware(answers)
    asked(app, usual())
    counts = http.http_metrics().counts("GET", "http")
    (((cells, _, _)),) = counts.by_route.values()
    cells[0].release()
    with pytest.raises(ValueError, match="released"):
        asked(app, usual())


def test_python_serves_where_nothing_was_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same is counted."""
    monkeypatch.setattr(asgi_compiled, "_exchange", None)
    asgi_compiled.use(compiled=True)
    assert not PATH.is_compiled
    asked(ASGIMiddleware(answers), usual())
    assert samples(DURATION)[0].count == 1
