"""`proftool rm`: remove runs by name."""

from __future__ import annotations

from typing import Annotated

import typer

from proftool.cli import options, output


def rm(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids or prefixes, labels, @latest, @GITREF.")],
    every: Annotated[bool, typer.Option("--all", help="Where a name stands for several runs, remove all of them.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove runs, labelled or not; all that are named or none."""
    from pathlib import Path

    from proftool import settings
    from proftool.store import open_store
    from proftool.workflows.history import remove_runs

    output.set_quiet(quiet)
    for run in remove_runs(runs, open_store(settings.load()), Path.cwd(), every=every):
        output.talk(f"removed {run.id}" + (f" ({run.label})" if run.label else ""))
