"""workflows/serve.py: the whole of a large run on loopback, for one browser only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from http.client import HTTPConnection
from threading import Thread

import pytest
from reports.test_page import between, wide

from proftool.contracts import ReportOptions
from proftool.reports.flamegraph import report
from proftool.workflows.serve import PageServer


@cache
def bound() -> int:
    """Half of what 20,000 callees add to the page of one."""
    return between(*(report.render(wide(n), ReportOptions()) for n in (1, 20_000)), share=0.5)


@pytest.fixture
def server() -> Iterator[PageServer]:
    """A run of 20,000 callees of `main`, more than its pages may hold."""
    with PageServer(wide(20_000), ReportOptions(max_bytes=bound())) as started:
        Thread(target=started.serve_forever, daemon=True).start()
        yield started
        started.shutdown()


def asked(server: PageServer, path: str, host: str | None = None) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=120)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def head(content: bytes) -> dict[str, object]:
    found = re.search(rb'id="head">(.*?)</script>', content, re.S)
    assert found
    return json.loads(found[1])


def test_every_page_holds_its_bound_and_says_where_the_rest_is(server: PageServer) -> None:
    """The whole, then what lies below a node of it, each of at most the size asked for."""
    for query, under in (("", []), ("?node=0", ["main"])):
        status, content = asked(server, server.path + query)
        assert (status, len(content) <= bound()) == (200, True)
        assert head(content)["folded"] is not None
        assert head(content)["more"] == {"url": server.path, "under": under}
    status, content = asked(server, server.path + "?node=5")
    assert status == 200
    assert head(content)["folded"] is None
    assert head(content)["more"]["under"][0] == "main"  # type: ignore[index]


def test_nobody_else_gets_in(server: PageServer) -> None:
    """Without the secret, under another host's name, or for a node that is not there: no page."""
    assert asked(server, "/")[0] == 404
    assert asked(server, server.path[:-3] + "x/")[0] == 404
    assert asked(server, server.path, "evil.example")[0] == 404
    assert asked(server, server.path + "?node=99999999")[0] == 404
    assert server.server_address[0] == "127.0.0.1"
