"""`proftool bisect`: the commit where a command, a benchmark or a function became slower or faster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proftool.cli.options import Json, Quiet


def bisect(
    context: typer.Context,
    good: Annotated[str, typer.Argument(metavar="GOOD", help="A revision before the change.")],
    bad: Annotated[str, typer.Argument(metavar="BAD", help="A later one, after it.")],
    bench: Annotated[
        str | None, typer.Option("--bench", metavar="FILE::NAME", help="A benchmark, instead of a command after `--`.")
    ] = None,
    function: Annotated[str | None, typer.Option("--function", metavar="NAME", help="Look for a change of this function's time.")] = None,
    most_pairs: Annotated[int, typer.Option("--pairs", min=10, max=1000, help="Pairs of processes at most for GOOD and BAD.")] = 60,
    carry: Annotated[list[str] | None, typer.Option("--carry", metavar="PATH", help="What git ignores and the program needs.")] = None,
    build: Annotated[str | None, typer.Option("--build", metavar="COMMAND", help="Run in each worktree first, by the shell.")] = None,
    python: Annotated[Path | None, typer.Option("--python", help="The interpreter.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Find the commit that changed how long it takes. Exits 0 (one commit) or 10 (several are left)."""
    from proftool import settings
    from proftool.cli import output as streams
    from proftool.errors import UsageError
    from proftool.workflows import bench as work
    from proftool.workflows import bisect as search

    streams.set_quiet(quiet)
    after: tuple[str, ...] | None = context.obj
    if bool(after) == bool(bench):
        raise UsageError(
            "what is to be measured?",
            cause="give either a command after `--` or `--bench`",
            fix="`proftool bisect v1.0 main -- python app.py`, or `--bench bench_app.py::bench_total`",
        )
    setting = work.Setting(python=work.interpreter(python))
    asked = work.Asked(
        base=good,
        head=bad,
        command=after or None,
        only=bench,
        settings=(setting, setting),
        carry=carry or settings.load().carry,
        build=build,
        most_pairs=most_pairs,
    )
    found = search.bisect(asked, function, say=streams.progress)
    if json:
        streams.document(search.document(found))
    else:
        streams.data("\n".join(search.lines(found)))
    return found.exit_status
