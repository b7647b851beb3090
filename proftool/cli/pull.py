"""`proftool pull`: copy runs from another store."""

from __future__ import annotations

from typing import Annotated

import typer

from proftool.cli import options, output


def pull(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN...]", help="Ids or prefixes, labels, @latest, @GITREF.")] = None,
    store: Annotated[str | None, typer.Option(help="The other store: a folder or postgresql://…; default: PROFTOOL_STORE.")] = None,
    blobs: Annotated[str | None, typer.Option(help="Where its profiles are: a folder or s3://…; default: PROFTOOL_BLOBS.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every run.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Copy runs of another store, the team's for example, to this place; ids and labels stay."""
    from pathlib import Path

    from proftool import settings
    from proftool.errors import UsageError
    from proftool.workflows.transfer import both_stores, copy_runs

    output.set_quiet(quiet)
    if bool(runs) == every:
        raise UsageError(
            "which runs?", cause="either runs are named or `--all` is given", fix="`proftool pull @latest`, or `proftool pull --all`"
        )
    ends = both_stores(settings.load(), store, blobs)
    for copied in output.Ticker().watch(copy_runs(runs or [], ends.there, ends.here, Path.cwd(), every=every)):
        if copied.made is None:
            output.talk(f"{copied.given.id} is there already")
            continue
        output.data(copied.made.id)
        output.talk(f"{copied.given.id} from {ends.there.place.shown}")
