"""`proftool show`: what a run holds, for people or programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proftool.cli import options, output


def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help=options.RUN_HELP)] = "@latest",
    by: Annotated[str | None, typer.Option("--by", metavar="KEY", help="function, line, module, thread, callers or callees.")] = None,
    function: Annotated[
        str | None, typer.Option("--function", metavar="NAME", help="Only this function; whose callers or callees.")
    ] = None,
    metric: options.Metric = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many rows.")] = 20,
    json: options.Json = False,
) -> None:
    """Show a run: a summary and a table by function, or by line, module, thread, callers or callees."""
    import sys

    from proftool import insights, settings
    from proftool.contracts import ReportOptions
    from proftool.errors import UsageError
    from proftool.reports import advice, summary, table
    from proftool.reports.rows import By
    from proftool.store import open_store
    from proftool.workflows import report
    from proftool.workflows import show as showing

    known = [str(key) for key in By]
    if by is not None and by not in known:
        raise UsageError(f"no key `{by}`", cause="`--by` says what the rows are about", fix=f"known are: {', '.join(known)}")
    shown = showing.load(run, open_store(settings.load()), Path.cwd())
    if json:
        output.document(report.show_document(shown.profile, shown.run))
        return
    chosen = ReportOptions(metric=metric, width=output.width(), color=output.has_color(sys.stdout), limit=limit)
    table.metric_of(shown.profile, metric)
    whole = by is None and function is None
    if whole:
        output.data(summary.text(shown.profile, chosen, shown.run))
        output.data("")
    output.data(table.table(shown.profile, chosen, By(by) if by else By.FUNCTION, function))
    if whole and (found := insights.find(shown.profile)):
        output.data("\n" + advice.text(found, chosen))
