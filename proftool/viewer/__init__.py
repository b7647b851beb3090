"""The built front end: `assets()` gives the script and the style that a report page inlines, `dashboard_assets()` those that the dashboard
serves.

Sources in src/ (TypeScript, Svelte), built by build.py into dist/, which wheels and sdists ship and git does not keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from proftool.errors import AssetsMissing

DIST = Path(__file__).parent / "dist"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """One script and one style sheet, whole."""

    script: str
    style: str


@cache
def assets() -> Assets:
    """The viewer's bundle; AssetsMissing where it was not built."""
    return _bundle("viewer")


@cache
def dashboard_assets() -> Assets:
    """The dashboard's bundle; AssetsMissing where it was not built."""
    return _bundle("dashboard")


def _bundle(name: str) -> Assets:
    try:
        return Assets(script=(DIST / f"{name}.js").read_text("utf-8"), style=(DIST / f"{name}.css").read_text("utf-8"))
    except OSError as error:
        raise AssetsMissing(
            "the viewer is not installed",
            cause=f"`{error.filename}` cannot be read: {error.strerror}",
            fix="install proftool again (`pip install --force-reinstall proftool`), or in a checkout run `python proftool/viewer/build.py`",
        ) from error
