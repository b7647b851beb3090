"""`proftool serve`: the local dashboard."""

from __future__ import annotations

from typing import Annotated

import typer


def serve(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="N", help="0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option("--host", metavar="H", help="Another interface than loopback; needs --token.")] = "127.0.0.1",
    token: Annotated[str | None, typer.Option("--token", metavar="T", help="16 characters or more; else one is made.")] = None,
    name: Annotated[list[str] | None, typer.Option("--name", metavar="NAME", help="Of a proxy before it; may be repeated.")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it where there is a browser.")] = True,
) -> None:
    """Serve the dashboard of this store on this machine until Ctrl-C; prints its address with the token."""
    import webbrowser

    from proftool import settings as settings_file
    from proftool.cli import output
    from proftool.dashboard.server import serve as answer
    from proftool.workflows.open import has_browser

    def ready(url: str) -> None:
        output.data(url)
        if browser and has_browser():
            webbrowser.open(url)

    answer(settings_file.load(), host=host, port=port, token=token, names=name or (), ready=ready)
