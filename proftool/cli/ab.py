"""`proftool ab`: the same work at two revisions, the sides in turn, with the cause of a difference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proftool.cli.options import Json, Quiet


def ab(
    context: typer.Context,
    base: Annotated[str, typer.Argument(metavar="BASE", help="A branch, tag or commit.")],
    head: Annotated[
        str | None, typer.Argument(metavar="[HEAD]", help="Another; without it the working tree as it is, edits included.")
    ] = None,
    benchmarks: Annotated[
        bool, typer.Option("--bench", help="Compare benchmarks; after `--` stand the files or folders with them.")
    ] = False,
    most_pairs: Annotated[int, typer.Option("--pairs", min=10, max=1000, help="Pairs of processes at most.")] = 60,
    budget: Annotated[str | None, typer.Option("--budget", metavar="TIME", help="Time for all, such as 2m; default 45 s each.")] = None,
    carry: Annotated[list[str] | None, typer.Option("--carry", metavar="PATH", help="What git ignores and the program needs.")] = None,
    python: Annotated[Path | None, typer.Option("--python", help="The interpreter that runs them.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Is it slower than BASE, and which function is the cause? Exits 0 (no), 1 (yes) or 10 (undecided)."""
    from proftool.bench.report import comparison_document, comparison_lines
    from proftool.cli import output as streams
    from proftool.errors import UsageError
    from proftool.units import NS_PER_S, duration_ns
    from proftool.workflows import bench as work

    streams.set_quiet(quiet)
    after: tuple[str, ...] | None = context.obj
    if not benchmarks and not after:
        raise UsageError(
            "nothing to compare",
            cause="neither a command after `--` nor `--bench` was given",
            fix="`proftool ab main -- python app.py`, or `proftool ab main --bench`",
        )
    try:
        budget_s = duration_ns(budget) / NS_PER_S if budget else None
    except ValueError as problem:
        raise UsageError("the budget is no time", cause=str(problem), fix="`--budget 2m`") from problem
    answer = work.ab(
        base,
        head,
        command=None if benchmarks else after,
        paths=[Path(word) for word in after or ()] if benchmarks else (),
        python=work.interpreter(python),
        carry=carry or (),
        most_pairs=most_pairs,
        budget_s=budget_s,
        say=streams.progress,
    )
    if json:
        streams.document(comparison_document(answer.answers, answer.control, dict(answer.causes)))
    else:
        streams.data(f"  {answer.base} ↔ {answer.new}   A/A control: {answer.control.verdict}")
        streams.data("\n".join(comparison_lines(answer.answers, dict(answer.causes))))
    return answer.exit_status
