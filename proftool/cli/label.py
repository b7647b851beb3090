"""`proftool label`: name a run, so that it is found by that name and never pruned."""

from __future__ import annotations

from typing import Annotated

import typer

from proftool.cli import options, output


def label(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id or prefix, label, @latest, @GITREF.")],
    text: Annotated[str | None, typer.Argument(metavar="[LABEL]", help="The label; a run has one.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the label away.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Give a run a label, or take it away; labelled runs are never pruned."""
    from pathlib import Path

    from proftool import settings
    from proftool.errors import UsageError
    from proftool.store import open_store
    from proftool.workflows.history import label_run

    output.set_quiet(quiet)
    if (text is None) != remove:
        raise UsageError(
            "which label?" if text is None else "a label and `--remove` contradict",
            cause="one of both is needed",
            fix=f"`proftool label {run} TEXT`, or `proftool label {run} --remove`",
        )
    changed = label_run(run, text, open_store(settings.load()), Path.cwd())
    output.talk(f"run {changed.id} " + (f"is now `{changed.label}`" if changed.label else "has no label"))
