"""A run in a browser: our own offline page, snakeviz, or the file that speedscope loads."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from proftool import registry
from proftool.contracts import WritableFormat
from proftool.contracts_store import Run
from proftool.errors import BackendUnavailable
from proftool.settings import Settings
from proftool.workflows.history import write_file
from proftool.workflows.report import page_options

if TYPE_CHECKING:
    from proftool.model.profile import Profile
    from proftool.store.runs import SqlRunStore


def page(profile: Profile, settings: Settings, path: Path, metric: str | None = None) -> bool:
    """Write the offline page; does the whole profile stand on it? AssetsMissing where the viewer was not built."""
    from proftool.reports.flamegraph import report

    made = report.draw(profile, page_options(settings, metric, profile))
    write_file(path, made.content)
    return made.folded is None


def serve(profile: Profile, settings: Settings, metric: str | None, say: Callable[[str], None]) -> None:
    """Serve the whole of a profile that one page cannot hold, and show its first page, until interrupted."""
    from proftool.workflows.serve import serve

    def ready(url: str) -> None:
        say(f"the whole run is served at {url}\nits smallest parts are folded: a click on `(n others)` opens them; Ctrl-C ends the server")
        webbrowser.open(url)

    serve(profile, page_options(settings, metric, profile), ready)


def open_page(profile: Profile, run: Run | None, settings: Settings, store: SqlRunStore, metric: str | None = None) -> str:
    """Write the page beside the store and open it; what to tell the user."""
    path = report_path(store, run, "html")
    whole = page(profile, settings, path, metric)
    return browse(path) + ("" if whole else "; its smallest parts are folded: `proftool open` serves all of it")


def report_path(store: SqlRunStore, run: Run | None, suffix: str) -> Path:
    """A private file for a report of that run."""
    store.place.make()
    folder = store.place.folder / "reports"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{run.id if run else secrets.token_hex(5)}.{suffix}"


def browse(path: Path) -> str:
    """Open a file in the user's browser; what to tell: without one, the path alone."""
    return f"opened {path}" if has_browser() and webbrowser.open(path.absolute().as_uri()) else f"no browser here; the report is {path}"


def has_browser() -> bool:
    """Is there a browser that a person would see?"""
    if os.environ.get("BROWSER"):
        return True
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def export_for(profile: Profile, format: str, path: Path) -> tuple[str, ...]:
    """Write the profile in another tool's format; what that cannot hold."""
    writer = registry.format(format)
    assert isinstance(writer, WritableFormat)
    write_file(path, writer.write(profile))
    return writer.lost(profile)


def snakeviz(path: Path, *, browser: bool) -> int:
    """Serve a pstats file by snakeviz on loopback until it is interrupted; its status."""
    from importlib.util import find_spec

    if find_spec("snakeviz") is None:
        raise BackendUnavailable("snakeviz is not installed", cause="its package is not importable here", fix="`pip install snakeviz`")
    command = [sys.executable, "-m", "snakeviz", "--hostname", "127.0.0.1", *([] if browser else ["--server"]), str(path)]
    child = subprocess.Popen(command)
    try:
        return child.wait()
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        return 0
