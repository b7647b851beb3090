"""Pages as text: the templates, and a view's document inside its page, so that it is painted without a second question.

A view's page comes in two parts: what the browser needs for loading style and front end, and then, as soon as it is known, the document.

Whatever came from a service or a run stands in a page in two ways only: escaped by the template, or as JSON with `<` escaped inside a data
block, which the front end puts on the page as text nodes. No page holds a script; both it and the style come from this server.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from proftool.dashboard.assets import digest
from proftool.errors import NotComparable, ProftoolError, RunNotFound

THEMES = ("light", "dark")
_INSIDE = "<!-- the document -->"


@dataclass(frozen=True, slots=True)
class Places:
    """A link of the navigation."""

    name: str
    url: str
    key: str


NAVIGATION = (
    Places("Runs", "/", "r"),
    Places("Services", "/services", "s"),
    Places("Traces", "/traces", "t"),
    Places("Queries", "/queries", "q"),
    Places("Alerts", "/alerts", "a"),
)


class Html:
    """The templates."""

    def __init__(self) -> None:
        self.environment = Environment(loader=PackageLoader("proftool.dashboard"), autoescape=True, undefined=StrictUndefined)

    def page(self, request: Request, template: str, *, status: int = 200, here: str = "", **values: object) -> HTMLResponse:
        """A template; `here` is the place of the navigation that it belongs to."""
        theme = request.cookies.get("theme")
        shown = self.environment.get_template(template).render(
            navigation=NAVIGATION, here=here, digest=digest(), theme=theme if theme in THEMES else None, **values
        )
        return HTMLResponse(shown.encode("utf-8", "replace"), status)

    def view(self, request: Request, name: str, *, title: str, here: str) -> tuple[bytes, bytes]:
        """What of a view's page comes before its document, and what after it."""
        shown = self.page(request, "view.html", title=title, here=here, view=name, inside=_INSIDE)
        before, _, after = bytes(shown.body).partition(_INSIDE.encode())
        return before, after

    def problem(self, error: ProftoolError) -> bytes:
        """What stands in a view's page in the place of its document."""
        return self.environment.get_template("problem.html").render(error=error).encode("utf-8", "replace")

    def error(self, request: Request, error: ProftoolError) -> HTMLResponse:
        """What happened, its cause and the fix."""
        return self.page(request, "error.html", status=status_of(error), title="Not shown", error=error)


def embedded(document: object) -> bytes:
    """A view's document as it stands in its page."""
    return b'<script type="application/json" id="document">' + encoded(document).replace(b"<", b"\\u003c") + b"</script>"


def encoded(document: object) -> bytes:
    """As JSON; what no encoding holds (lone surrogates of undecodable names) as its escape."""
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(document)).encode()


def json_answer(document: object, status: int = 200) -> Response:
    """A document by itself."""
    return Response(encoded(document), status, media_type="application/json")


def error_answer(error: ProftoolError) -> Response:
    """An error for the front end."""
    return json_answer({"error": {"what": error.what, "cause": error.cause, "fix": error.fix}}, status_of(error))


def status_of(error: ProftoolError) -> int:
    """Of HTTP."""
    return 404 if isinstance(error, RunNotFound) else 409 if isinstance(error, NotComparable) else 500
