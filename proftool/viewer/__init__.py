"""The built front end: `assets()` gives the script and the style that a report page inlines.

Sources in src/ (TypeScript, Svelte), built by hatch_build.py into dist/, which wheels and sdists ship and git does not keep.
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
    try:
        return Assets(script=(DIST / "viewer.js").read_text("utf-8"), style=(DIST / "viewer.css").read_text("utf-8"))
    except OSError as error:
        raise AssetsMissing(
            "the viewer is not installed",
            cause=f"`{error.filename}` cannot be read: {error.strerror}",
            fix="install proftool again (`pip install --force-reinstall proftool`), or in a checkout run "
            "`python proftool/viewer/hatch_build.py`",
        ) from error
