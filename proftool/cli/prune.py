"""`proftool prune`: remove old runs that bear no label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from proftool.cli import options, output


def prune(
    older_than: Annotated[str | None, typer.Option(metavar="AGE", help="Runs older than that: 12h, 30d, 4w.")] = None,
    keep: Annotated[int | None, typer.Option(min=0, metavar="N", help="All but the newest N.")] = None,
    max_size: Annotated[str | None, typer.Option(metavar="SIZE", help="The oldest, until the rest fits: 500MB, 2GiB.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove unlabelled runs by age, count or size; without an option, down to the store's size cap."""
    from proftool import settings
    from proftool.store import open_store
    from proftool.units import Unit, duration_ns, people, size_bytes
    from proftool.workflows.history import prune_runs

    output.set_quiet(quiet)
    found = settings.load()
    gone = prune_runs(
        open_store(found),
        older_than_ns=_read("--older-than", older_than, duration_ns),
        keep=keep,
        max_bytes=_read("--max-size", max_size, size_bytes),
        cap_bytes=found.store_size_bytes,
        dry_run=dry_run,
    )
    for run in gone.runs:
        command = " ".join(run.command or ())
        output.talk(f"{'would remove' if dry_run else 'removed'} {run.id}  {run.started_at or ''}  {command[:80]}".rstrip())
    verb = "would go" if dry_run else "went"
    output.talk(f"{len(gone.runs)} {'run' if len(gone.runs) == 1 else 'runs'} {verb}, {people(gone.size_bytes, Unit.BYTES)}")
    if gone.blobs_swept:
        output.talk(f"{gone.blobs_swept} leftovers of killed writers were swept")


def _read(option: str, text: str | None, reader: Callable[[str], int]) -> int | None:
    from proftool.errors import UsageError

    if text is None:
        return None
    try:
        return reader(text)
    except ValueError as error:
        raise UsageError(f"`{option} {text}` cannot be read", cause=str(error), fix="`proftool prune --help` shows examples") from error
