"""`proftool scale`: which function will hurt when the input grows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proftool.cli import options


def scale(
    context: typer.Context,
    sizes: Annotated[str, typer.Option("--sizes", metavar="N,N,…", help="Sizes of the input, such as 1e3,1e4,1e5.")] = "1e3,1e4,1e5",
    python: Annotated[Path | None, typer.Option("--python", metavar="PATH", help="The interpreter to run the target with.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many rows.")] = 15,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Trace a command at several sizes, `{n}` in its words replaced, and fit how each function's own time and calls grow.

    A run of less than half a second is traced up to three times, and the least time of each function counts.
    """
    import sys

    from proftool import settings as settings_file
    from proftool.cli import output
    from proftool.contracts import ReportOptions
    from proftool.errors import UsageError
    from proftool.reports import growth
    from proftool.store import open_store
    from proftool.workflows import scale as work

    output.set_quiet(quiet)
    words: tuple[str, ...] = context.obj or ()
    if not words:
        raise UsageError("nothing to run", cause="no command stands after `--`", fix="`proftool scale --sizes 1e3,1e4 -- app.py {n}`")
    settings = settings_file.load()
    scaled = work.scale(words, work.sizes_of(sizes), open_store(settings), settings, output.talk, python=python)
    if json:
        output.document(work.document(scaled))
    else:
        shown = ReportOptions(width=output.width(), color=output.has_color(sys.stdout), limit=limit)
        output.data(growth.text(scaled.sizes, scaled.functions, shown))
