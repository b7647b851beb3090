"""Where the store is: what `PROFTOOL_STORE` says, else `.proftool/` of the project, else the user's data folder.

    FOLDER/.gitignore          `*`: the store ignores itself
    FOLDER/runs.db             SQLite in WAL mode
    FOLDER/blobs/ab/abcd….proftool
    FOLDER/recordings/…        raw parts of recordings under way
    FOLDER/damaged/…           what a repair put aside

A team's store is a PostgreSQL database (`server`) and a bucket (`bucket`); the folder then holds recordings under way only.
Nothing in it names a path outside of it, so a copied folder stays usable. Everything is for its owner's eyes only.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from proftool.errors import StoreError
from proftool.settings import Settings

NAME = ".proftool"
_SERVERS = ("postgresql://", "postgres://")
MAKE_ROOM = "free some 100 KB, then `proftool prune --keep 10` frees more; or `PROFTOOL_STORE=/path/on/another/disk`"
"""Removing runs needs room itself: SQLite writes what it changes beside the database first."""
_ELSEWHERE = "name a folder you can write to: `PROFTOOL_STORE=/path/to/folder`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a store keeps what."""

    folder: Path
    database: Path
    blobs: Path
    notice: str | None = None
    """Why it is not where the user would look for it."""
    server: str | None = None
    """URL of a PostgreSQL database that holds the runs instead of `database`."""
    bucket: str | None = None
    """`s3://bucket/prefix` that holds the profiles instead of `blobs`."""

    @property
    def url(self) -> str:
        """The database as SQLAlchemy names it."""
        return f"sqlite:///{self.database}" if self.server is None else "postgresql+psycopg://" + self.server.partition("://")[2]

    @property
    def shown(self) -> str:
        """Where the runs are, for people: a server without its password."""
        if self.server is None:
            return str(self.folder)
        url = urlsplit(self.server)
        return f"postgresql://{url.hostname or ''}{f':{url.port}' if url.port else ''}{url.path}"

    @property
    def shown_blobs(self) -> str:
        """Where the profiles are, for people."""
        return self.bucket or str(self.blobs)

    def make(self) -> None:
        """Create the folders, private, with the ignore file; StoreError where that fails."""
        try:
            if not self.folder.is_dir():
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                ignore = self.folder / ".gitignore"
                if not ignore.exists():
                    ignore.write_text("*\n")
            for folder in (*(() if self.bucket else (self.blobs,)), *(() if self.server else (self.database.parent,))):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.folder, error) from error


def unwritable(folder: Path, error: OSError) -> StoreError:
    """The error for a store that cannot be written, by its cause."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"no space left for the store `{folder}`",
            cause=f"{error.strerror}",
            fix=MAKE_ROOM,
        )
    return StoreError(f"cannot write to the store `{folder}`", cause=f"{error.strerror or error}", fix=_ELSEWHERE)


def find_place(settings: Settings) -> Place:
    """Where the runs of these settings are kept; nothing is created."""
    notice = None
    server = settings.store if settings.store is not None and settings.store.startswith(_SERVERS) else None
    bucket = settings.blobs if settings.blobs is not None and settings.blobs.startswith("s3://") else None
    if server is not None:
        if settings.blobs is None:
            raise StoreError(
                "the store has a database and no place for profiles",
                cause=f"{settings.origin('store')} names a server, and nothing says where the profiles of its runs are",
                fix="`PROFTOOL_BLOBS=s3://bucket/prefix`, or a folder that everybody sees",
            )
        folder = _user_folder()  # for recordings under way; they belong to this machine
        database = folder / "runs.db"
    elif settings.store is not None:
        folder, database = _named(settings.store, settings.cwd)
    else:
        folder = settings.project / NAME if settings.project else None
        if folder is not None and not _writable(folder):
            notice = f"`{folder.parent}` is read-only, so the run is kept in "
            folder = None
        folder = folder or _user_folder()
        if notice:
            notice += f"`{folder}`"
        database = folder / "runs.db"
    blobs = folder / "blobs"
    if settings.blobs is not None and bucket is None:
        blobs = _folder_of(settings.blobs, settings.cwd, "blobs")
    return Place(folder=folder, database=database, blobs=blobs, notice=notice, server=server, bucket=bucket)


def _named(store: str, cwd: Path) -> tuple[Path, Path]:
    if store.startswith("sqlite:"):
        path = store.partition(":///")[2].partition("?")[0]
        if not path or path == ":memory:":
            raise StoreError(
                f"`{store}` names no file", cause="a store outlives the process", fix="write `sqlite:////absolute/path/runs.db`"
            )
        database = cwd / unquote(path)
        return database.parent, database
    folder = _folder_of(store, cwd, "runs")
    return folder, folder / "runs.db"


def _folder_of(text: str, cwd: Path, what: str) -> Path:
    if "://" not in text:
        return cwd / Path(text).expanduser()
    url = urlsplit(text)
    if url.scheme == "file" and url.netloc in ("", "localhost"):
        return Path(unquote(url.path))
    wanted = "a folder, `file:///…`, `sqlite:///…` or `postgresql://…`" if what == "runs" else "a folder, `file:///…` or `s3://…`"
    raise StoreError(f"this proftool keeps no {what} in `{url.scheme}://`", cause=f"{what} are kept in {wanted}", fix=_ELSEWHERE)


def _writable(folder: Path) -> bool:
    nearest = folder if folder.exists() else folder.parent
    database = folder / "runs.db"
    return os.access(nearest, os.W_OK | os.X_OK) and (not database.exists() or os.access(database, os.W_OK))


def _user_folder() -> Path:
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    else:
        base = os.environ.get("XDG_DATA_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "proftool"
    try:
        home = Path.home()
    except RuntimeError:
        home = None
    if home is None or not home.is_absolute():
        raise StoreError(
            "there is no place for the store",
            cause="this is no project (`pyproject.toml`, `.git`), and this user has no home folder",
            fix=_ELSEWHERE,
        )
    return home / ("Library/Application Support" if sys.platform == "darwin" else ".local/share") / "proftool"
