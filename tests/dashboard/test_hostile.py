"""Names, statements and ids that hostile services send: text on every page, and never an error of the server."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from dashboard.serving import Served
from playwright.sync_api import Browser

from proftool import settings
from proftool.contracts_telemetry import Exemplar, Finding, Point, Slice, Span, SpanEvent
from proftool.model.builder import ProfileBuilder
from proftool.model.profile import SAMPLES, WALL_TIME
from proftool.store import open_metrics, open_telemetry

EVIL = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>\"'`${7*7}{{7*7}}\u2028\x00 ../../etc/passwd"
STORED = EVIL.replace("\x00", "\ufffd")
TRACE = "ab" * 16
NOW = time.time_ns()

pytestmark = [pytest.mark.xdist_group("dashboard"), pytest.mark.timeout(600)]


def fill(folder: Path) -> None:
    """A service whose every word is markup, with a loop of parents, a missing parent and times that cannot be."""
    found = settings.load(folder, environ={})
    telemetry, metrics = open_telemetry(found), open_metrics(found)
    common = {"service": STORED, "name": STORED, "kind": "client"}
    entry = {"is_entry": True, "route": STORED, "status": "error", "message": STORED}
    attributes = {"db.query.text": STORED, "db.system.name": STORED, "code.file.path": STORED, "code.function.name": STORED, STORED: STORED}
    begin = NOW - 60_000_000_000
    spans = [
        Span(trace_id=TRACE, span_id="01" * 8, start_ns=begin, duration_ns=10**9, **entry, **common),
        Span(trace_id=TRACE, span_id="02" * 8, parent_id="03" * 8, start_ns=begin, duration_ns=10**8, attributes=attributes, **common),
        Span(trace_id=TRACE, span_id="03" * 8, parent_id="02" * 8, start_ns=begin, duration_ns=0, **common),
        Span(trace_id=TRACE, span_id="04" * 8, parent_id="99" * 8, start_ns=begin - 5, duration_ns=10**12, **common),
        Span(trace_id=TRACE, span_id="05" * 8, parent_id="05" * 8, start_ns=begin, duration_ns=7, **common,
             events=(SpanEvent(name=STORED, time_ns=begin, attributes={STORED: STORED}),)),
        *(
            Span(trace_id=TRACE, span_id=f"{n:016x}", parent_id=f"{n - 1:016x}" if n > 100 else "01" * 8, start_ns=begin + n,
                 duration_ns=10, **common)
            for n in range(100, 1700)
        ),
    ]  # fmt: skip
    telemetry.add_spans(spans)
    telemetry.add_findings(
        [
            Finding(id=STORED, service=STORED, function=STORED, file=STORED, line=1, confidence=STORED, evidence=STORED, advice=STORED,
                    route=STORED, trace_id=TRACE, first_ns=begin, last_ns=NOW)
        ]
    )  # fmt: skip
    builder = ProfileBuilder((WALL_TIME, SAMPLES))
    node = builder.stack([builder.frame(builder.function(STORED, module=STORED, file=STORED), 1)])
    builder.add(node, builder.lane(thread_name=STORED, task=STORED), 0, 10**9)
    telemetry.add_slices([Slice(service=STORED, pid=1, start_ns=begin, end_ns=NOW, samples=9, profile=builder.build())])
    labels = tuple(sorted({"http.route": STORED, "http.request.method": STORED, "error.type": STORED}.items()))
    for step in range(3):
        metrics.add_points(
            [
                Point(service=STORED, process="p", name="http.server.request.duration", kind="histogram", unit=STORED, labels=labels,
                      time_ns=begin + step * 10**10, start_ns=begin - 1, value=step + 1.0, counts=(step, step, 0), edges=(0.1, 1.0),
                      exemplars=(Exemplar(begin + step, TRACE, "01" * 8, 0.5),))
            ]
        )  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "pyproject.toml").write_text('[tool.proftool.alerts."<b>x"]\nmeasure = "errors"\nabove = 0.5\nfor = 0\n')
    fill(folder)
    one = Served(folder)
    yield one
    one.end()


PATHS = {
    "services": "/services",
    "service": f"/service?name={quote(STORED)}",
    "route": f"/service?name={quote(STORED)}&route={quote(f'{STORED} {STORED}')}",
    "flame": f"/service/flame?name={quote(STORED)}",
    "route's flame": f"/service/flame?name={quote(STORED)}&route={quote(STORED)}",
    "compare": f"/service/compare?name={quote(STORED)}",
    "traces": f"/traces?text={quote('<script>')}",
    "trace": f"/trace/{TRACE}",
    "two traces": f"/traces/compare?base={TRACE}&new={TRACE}",
    "queries": "/queries",
    "alerts": "/alerts",
}


def test_hostile_names_are_text_on_every_view(hostile: Served, browser: Browser) -> None:
    """No script of theirs runs, no request leaves, nothing fails; and the name stands there as it was sent."""
    context = browser.new_context()
    context.add_cookies([hostile.cookie()])
    faults: list[str] = []
    context.on("request", lambda r: None if r.url.startswith((hostile.base, "data:", "blob:")) else faults.append(r.url))
    try:
        for name, path in PATHS.items():
            page = context.new_page()
            page.on("console", lambda m, name=name: faults.append(f"{name}: {m.text}") if m.type == "error" else None)
            page.on("pageerror", lambda e, name=name: faults.append(f"{name}: {e}"))
            page.goto(hostile.base + path)
            page.wait_for_selector("h1, .legend", timeout=120_000)
            page.wait_for_selector("[role=status]", state="detached", timeout=120_000)
            assert page.evaluate("window.pwned") is None, name
            assert page.locator("img").count() == 0, name
            if name in ("services", "service", "trace", "traces", "queries", "alerts"):
                assert "<script>window.pwned=1</script>" in page.locator("main").inner_text(), name
            if name == "trace":
                assert page.locator(".span").count() < 200  # of 1,605
                page.locator(".span").nth(1).click()
                page.locator(".water").press("Enter")
                page.locator("aside .mono").wait_for()
            page.close()
    finally:
        context.close()
    assert faults == []


def test_no_page_holds_their_markup(hostile: Served) -> None:
    """In the bytes that are sent, `<` of theirs never opens an element."""
    with hostile.client() as client:
        for name, path in PATHS.items():
            answer = client.get(path)
            assert answer.status_code == 200, (name, answer.text[-600:])
            assert "<script>window" not in answer.text, name
            assert "<img" not in answer.text, name
            policy = answer.headers["content-security-policy"]
            assert "unsafe" not in policy, name
            scripts = re.findall(r"<script(?![^>]*(?:application/json|text/plain))[^>]*>", answer.text)
            assert all("src=" in script for script in scripts) or "sha256-" in policy, (name, scripts)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/trace/..%2f..%2fetc%2fpasswd", 404),
        ("/trace/" + "zz" * 16, 404),
        ("/trace/" + "00" * 16, 404),
        ("/api/trace/" + TRACE + "/span/<b>", 404),
        ("/api/trace/" + TRACE + "/span/" + "0" * 16, 404),
        ("/trace/" + TRACE + "/flame?span=' or 1=1 --", 404),
        ("/incident/..%2f..%2fetc%2fpasswd", 404),
        ("/incident/incident-%25", 404),
        ("/service?name=nobody", 404),
        ("/service/flame?name=' or 1=1 --", 404),
        ("/service/compare/flame?name=nobody&base_since=1&base_until=2", 404),
        ("/traces/compare?base=x&new=y", 404),
        ("/static/x/../../../etc/passwd", 404),
        ("/static/x/dashboard.js%00", 404),
        ("/traces?min_ms=99999999999999999999&since=-1&until=nan&range=%00&order='", 200),
        ("/queries?since=0&until=4102444800000", 200),
        ("/services?since=1&until=4102444800000", 200),
        ("/alerts?x=" + "y" * 4000, 200),
    ],
)
def test_what_nobody_should_ask_is_answered_in_order(hostile: Served, path: str, status: int) -> None:
    """Ids of other shapes, paths of the disk, numbers beyond all: a page with its fix, never a failure, and nothing of the disk."""
    with hostile.client() as client:
        answer = client.get(path)
    # A page that begins before its answer is there has begun with 200, and says itself what is wrong (`pages.PROMPT_S`).
    told_late = answer.status_code == 200 and 'role="alert"' in answer.text
    assert answer.status_code == status or (status == 404 and told_late), answer.text[-500:]
    assert "Traceback" not in answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    "path", [*PATHS.values(), "/api/services", "/api/traces", f"/api/trace/{TRACE}", "/events", "/static/x/dashboard.js"]
)
def test_every_path_is_guarded(hostile: Served, path: str) -> None:
    """Without the token, by another name, from another site, and for writing: refused."""
    import httpx

    with httpx.Client(base_url=hostile.base, timeout=60) as client:
        cookie = {"cookie": "; ".join(map("=".join, hostile.cookies.items()))}
        assert client.get(path).status_code == 401
        assert client.get(path, headers=cookie | {"host": "evil.example"}).status_code == 421
        assert client.get(path, headers=cookie | {"origin": "https://evil.example"}).status_code == 403
        assert client.get(path, headers=cookie | {"sec-fetch-site": "cross-site"}).status_code == 403
        assert client.post(path, headers=cookie).status_code == 405
