"""`proftool import`: store what other profilers wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proftool.cli import options, output


def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files, or folders of files, recognised by content.")],
    label: Annotated[str | None, typer.Option(help="A label for every run that is made.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """Store files of other profilers as runs, the files of a folder as one; prints the id of each."""
    from proftool import settings
    from proftool.store import open_store
    from proftool.workflows.imports import import_files

    output.set_quiet(quiet)
    store = open_store(settings.load())
    failed = None
    ticker = output.Ticker()
    for imported in ticker.watch(import_files(files, store, label=label, told=ticker.say)):
        if imported.run is None:
            if len(files) == 1 and not files[0].is_dir() and imported.error:
                raise imported.error
            failed = imported.error
            output.complain(f"error: {imported.error}")
            continue
        output.data(imported.run.id)
        many = f" of {imported.n_files} files" if imported.n_files > 1 else ""
        output.talk(f"{imported.path}: run {imported.run.id}{many}")
        for sentence in imported.lost:
            output.talk(f"  lost: {sentence}")
    for notice in store.take_notices():
        output.talk(notice)
    if failed is not None:
        raise typer.Exit(failed.exit_code)
