"""A real server, asked by a client, attacked, and looked at by Chromium."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from dashboard.serving import Served, environment
from playwright.sync_api import Browser, expect

PROGRAM = "import sys\ndef work(n):\n    return sum(i * i for i in range(n))\nfor _ in range(int(sys.argv[1])):\n    work(20_000)\n"


def proftool(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proftool", *words], cwd=folder, env=environment(), capture_output=True, text=True, timeout=120
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("dashboard")
    (place / "pyproject.toml").touch()
    (place / "prog.py").write_text(PROGRAM)
    for label, n in (("<b>first</b>", "150"), ("second", "150"), ("third", "300")):
        done = proftool(place, "run", "-q", "--backend", "pyinstrument", "--label", label, "--", "prog.py", n)
        assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    one = Served(folder)
    yield one
    one.end()


pytestmark = pytest.mark.xdist_group("dashboard")


def test_every_view_answers(served: Served) -> None:
    """The list escapes what users typed, a run and a diff are the viewer, a trend has its commands' runs."""
    with served.client() as client:
        listed = client.get("/")
        assert listed.status_code == 200
        assert "&lt;b&gt;first&lt;/b&gt;" in listed.text
        assert "<b>first</b>" not in listed.text
        assert '"token"' not in listed.text
        assert served.token not in listed.text
        assert client.get("/run/second").text.startswith("<!doctype html>")
        assert client.get("/diff", params={"base": "second", "new": "third"}).status_code == 200
        assert "with the one before" in client.get("/trend", params={"of": "second"}).text


def test_an_error_is_a_page_with_its_fix(served: Served) -> None:
    """No such run, one run chosen of two; a path of the disk names nothing."""
    with served.client() as client:
        missing = client.get("/run/nothing-like-it")
        assert (missing.status_code, "fix" in missing.text) == (404, True)
        assert client.get("/diff", params={"run": "second"}).status_code == 404
        for path in ("/etc/passwd", "../../../../etc/passwd", "./prog.py", str(Path(__file__))):
            assert client.get("/diff", params={"base": path, "new": path}).status_code == 404
            assert "root:" not in client.get("/trend", params={"of": path}).text


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"cookies": {}}, 401),
        ({"guess": "guess"}, 401),
        ({"headers": {"host": "evil.example"}}, 421),
        ({"headers": {"origin": "https://evil.example"}}, 403),
        ({"headers": {"origin": "null"}}, 403),
        ({"headers": {"sec-fetch-site": "cross-site"}}, 403),
        ({"method": "POST"}, 405),
        ({"url": "/?" + "a" * 9000}, 414),
    ],
    ids=["no token", "wrong token", "rebound name", "other site", "opaque origin", "cross-site fetch", "writes", "long address"],
)
def test_an_attack_is_refused(served: Served, change: dict[str, object], status: int) -> None:
    """Each by its own status, and without a word of what is stored."""
    cookies = change.get("cookies", dict.fromkeys(served.cookies, change.get("guess", served.token)))
    with httpx.Client(base_url=served.base, cookies=cookies, timeout=120) as client:  # pyright: ignore[reportArgumentType]
        asked = client.request(str(change.get("method", "GET")), str(change.get("url", "/")), headers=change.get("headers"))  # pyright: ignore[reportArgumentType]
    assert asked.status_code == status
    assert "second" not in asked.text


def test_pages_are_kept_to_themselves(served: Served) -> None:
    """Nothing may be loaded from, sent to or framed by another host; the cookie is not for scripts or other sites."""
    answer = httpx.get(served.base, params={"token": served.token}, timeout=120)
    assert {"HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
    assert answer.headers["location"] == "/"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_another_interface_needs_a_token_of_its_own(folder: Path) -> None:
    """Refused before anything listens."""
    for words in (("--host", "0.0.0.0"), ("--token", "short")):
        done = proftool(folder, "serve", "--no-browser", *words)
        assert done.returncode == 2
        assert "fix:" in done.stderr


def test_two_dashboards_stay_logged_in(served: Served, folder: Path) -> None:
    """One client, as one browser: cookies are a host's, whatever the port."""
    other = Served(folder, "--name", "profiles.example.org")
    try:
        with httpx.Client(timeout=120) as client:
            for one in (served, other):
                assert client.get(one.url, follow_redirects=True).status_code == 200
            assert client.get(served.base).status_code == 200
            assert client.get(other.base, headers={"host": "profiles.example.org"}).status_code == 200  # as a proxy hands it on
    finally:
        other.end()


@pytest.mark.parametrize("page", ["0", "-1", "99999999999999999999", "9" * 5000, "two"])
def test_a_page_that_there_cannot_be_is_no_fault(served: Served, page: str) -> None:
    """The list, or an empty one."""
    with served.client() as client:
        assert client.get("/", params={"page": page}).status_code == 200


def test_a_port_in_use_is_told(folder: Path) -> None:
    """Cause and fix, not a traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = proftool(folder, "serve", "--no-browser", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "in use" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(folder: Path, number: int) -> None:
    """Within two seconds, with the port free again and nothing said."""
    one = Served(folder)
    with one.client() as client:
        client.get("/")
    status, told = one.end(number)
    assert status in (0, 130, -number)  # uvicorn gives the signal on once it has ended
    assert not told


def test_an_empty_store_says_what_to_type(tmp_path: Path) -> None:
    """The first thing that a newcomer sees."""
    (tmp_path / "pyproject.toml").touch()
    one = Served(tmp_path)
    try:
        with one.client() as client:
            assert "proftool run app.py" in client.get("/").text
    finally:
        one.end()


def test_a_person_walks_from_the_list_to_a_diff(served: Served, browser: Browser) -> None:
    """Chromium: the token leaves the address bar, two boxes and a button open the diff, a link the viewer; nothing on the console."""
    context = browser.new_context()
    try:
        page = context.new_page()
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(served.url)
        assert "token" not in page.url
        expect(page.locator("tbody tr")).to_have_count(3)
        boxes = page.get_by_role("checkbox")
        boxes.nth(0).check()
        boxes.nth(1).check()
        page.get_by_role("button", name="Compare").click()
        page.locator("canvas").first.wait_for(timeout=60_000)
        page.goto(served.base + "/run/third")
        page.locator("canvas").first.wait_for(timeout=60_000)
        assert not wrong
    finally:
        context.close()


def test_a_new_run_appears_by_itself(folder: Path, served: Served, browser: Browser) -> None:
    """The list is followed by server-sent events; what was ticked stays ticked, and pausing holds it still."""
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(served.url)
        page.locator(".feed.live").wait_for(timeout=60_000)
        before = page.locator("tbody tr").count()
        page.get_by_role("checkbox").first.check()
        ticked = page.get_by_role("checkbox").first.get_attribute("value")
        page.keyboard.press("p")
        page.locator(".feed", has_text="paused").wait_for()
        done = proftool(folder, "run", "-q", "--backend", "pyinstrument", "--label", "fourth", "--", "prog.py", "50")
        assert done.returncode == 0, done.stderr
        page.wait_for_timeout(2500)
        expect(page.locator("tbody tr")).to_have_count(before)
        page.get_by_role("button", name="Resume").click()
        expect(page.locator("tbody tr")).to_have_count(before + 1, timeout=60_000)
        assert page.locator(f"input[value='{ticked}']").is_checked()
    finally:
        context.close()
