"""The dashboard's script and style as the viewer's build left them, under a name that changes with their content, so that they can be kept.

A report (flame graph, diff) is a page of its own with its script inside: its policy names that script by its hash, as the page itself does.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from proftool import viewer

_SHARED = "base-uri 'none'; frame-ancestors 'none'"
PAGE = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; " + _SHARED
"""The policy of everything but reports: scripts and styles of this server, no inline code, nothing from elsewhere."""


@cache
def report_policy(*, under_way: bool = False) -> str:
    """The policy of a report: its one script and one style by their hashes; it may ask nobody for anything, of a recording under way this
    server for more."""
    bundle = viewer.assets()
    script, style = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (bundle.script, bundle.style))
    asks = "connect-src 'self'; " if under_way else ""
    return (
        f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; img-src data: blob:; "
        f"{asks}form-action 'none'; {_SHARED}"
    )


@cache
def digest() -> str:
    """Of script and style."""
    bundle = viewer.dashboard_assets()
    return hashlib.sha256((bundle.script + bundle.style).encode()).hexdigest()[:16]


def static(request: Request) -> Response:
    """`/static/DIGEST/dashboard.js` and `.css`; an older digest gets what there is now."""
    bundle = viewer.dashboard_assets()
    match request.path_params["name"]:
        case "dashboard.js":
            content, kind = bundle.script, "text/javascript"
        case "dashboard.css":
            content, kind = bundle.style, "text/css"
        case _:
            return PlainTextResponse("not here\n", 404)
    is_known = request.path_params["digest"] == digest()
    return Response(content, media_type=kind, headers={"cache-control": "private, max-age=31536000, immutable"} if is_known else None)
