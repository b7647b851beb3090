"""`proftool merge`: several runs as one."""

from __future__ import annotations

from typing import Annotated

import typer

from proftool.cli import options, output


def merge(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Ids or prefixes, labels (all that bear one), @latest, @GITREF, or files.")
    ],
    label: Annotated[str | None, typer.Option(help="A label for the new run.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """Make one run of several, each thread of each a lane; prints its id. The others stay."""
    from pathlib import Path

    from proftool import settings
    from proftool.store import open_store
    from proftool.workflows.merge import merge_runs

    output.set_quiet(quiet)
    store = open_store(settings.load())
    done = merge_runs(runs, store, Path.cwd(), label=label)
    output.data(done.run.id)
    output.talk(f"run {done.run.id}: {len(done.parts)} runs, {done.n_lanes} lanes")
    for notice in store.take_notices():
        output.talk(notice)
