"""`export --to`: a run to a server that a company runs for profiles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath

from proftool.contracts_store import Run
from proftool.store.names import resolve
from proftool.store.runs import SqlRunStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A run that was taken."""

    name: str
    """The run's id, or the file's path."""
    url: str
    """Without user and password."""
    service: str


def send_run(name: str, url: str, store: SqlRunStore, cwd: Path, *, service: str | None = None) -> Sent:
    """
    Send a run, or a file, secrets redacted as in the store.

    Args:
        service: whose profile it is; None = the program that was run.

    Raises:
        UsageError: a URL that names no such server.
        StoreError: the server does not answer, or does not take it.
    """
    from proftool.telemetry.profiles_out import About, Receiver

    found = resolve(name, store, cwd)
    profile = store.redacted(found.load(store))
    own = service or _program(found.run) or "proftool"
    git = profile.meta.git
    receiver = Receiver(url, About(service=own, version=git.commit[:12] if git else "", host=profile.meta.host or ""))
    receiver.send_profile(profile)
    return Sent(name=found.run.id if found.run else str(found.path), url=receiver.url, service=own)


def _program(run: Run | None) -> str | None:
    """The script or module that was run: `app` of `python app.py` and of `python -m app`."""
    words = [] if run is None or run.command is None else [word for word in run.command if word and not word.startswith("-")]
    if words and PurePath(words[0]).name.startswith("python"):
        words = words[1:]
    return PurePath(words[0]).name.removesuffix(".py") if words else None
