"""`proftool ab`: the same work at two revisions, the sides beside each other, with the cause of a difference."""

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
    instructions: Annotated[
        bool, typer.Option("--instructions", help="Count CPU instructions instead of time: for changes below 1 %.")
    ] = False,
    most_pairs: Annotated[int, typer.Option("--pairs", min=10, max=1000, help="Pairs of processes at most.")] = 60,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="TIME",
            help="Time to measure, such as 2m, ten pairs at least; causes get what is left, half of it at least. Default: 45 s for "
            "each benchmark or command, then six recordings a side of each that changed: some 15 s, or 14 times the program.",
        ),
    ] = None,
    apart: Annotated[
        bool, typer.Option("--apart", help="One process after the other: for programs that disturb each other. Less is found.")
    ] = False,
    carry: Annotated[list[str] | None, typer.Option("--carry", metavar="PATH", help="What git ignores and the program needs.")] = None,
    build: Annotated[str | None, typer.Option("--build", metavar="COMMAND", help="Run in each worktree first, by the shell.")] = None,
    python: Annotated[Path | None, typer.Option("--python", help="The interpreter that runs both sides.")] = None,
    base_python: Annotated[Path | None, typer.Option("--base-python", help="The interpreter of the base side alone.")] = None,
    new_python: Annotated[Path | None, typer.Option("--new-python", help="The interpreter of the new side alone.")] = None,
    base_env: Annotated[list[str] | None, typer.Option("--base-env", metavar="NAME=VALUE", help="Set on the base side alone.")] = None,
    new_env: Annotated[list[str] | None, typer.Option("--new-env", metavar="NAME=VALUE", help="Set on the new side alone.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Is it slower than BASE, and which function is the cause? Exits 0 (no), 1 (yes) or 10 (undecided)."""
    from proftool import settings
    from proftool.bench.report import cause_lines, comparison_document, verdict_lines
    from proftool.cli import output as streams
    from proftool.errors import UsageError
    from proftool.store.place import find_place
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
    set_ = settings.load()
    place = find_place(set_)
    asked = work.Asked(
        base=base,
        head=head,
        command=None if benchmarks else after,
        paths=[Path(word) for word in after or ()] if benchmarks else (),
        settings=(
            work.Setting(python=work.interpreter(base_python or python), env=_environment(base_env)),
            work.Setting(python=work.interpreter(new_python or python), env=_environment(new_env)),
        ),
        carry=carry or set_.carry,
        build=build,
        most_pairs=most_pairs,
        budget_s=budget_s,
        apart=apart,
        pages=place.folder / "reports",
    )
    if instructions:
        from proftool.workflows import instructions as counting

        counted = counting.ab(asked, say=streams.progress)
        if json:
            streams.document(counting.document(counted))
        else:
            streams.data("\n".join(counting.lines(counted)))
        return counted.exit_status
    place.make()
    if json:
        answer = work.ab(asked, say=streams.progress)
        streams.document(comparison_document(answer))
    else:
        answer = work.ab(asked, say=streams.progress, tell=lambda early: streams.data("\n".join(verdict_lines(early))))
        if told := cause_lines(answer):
            streams.data("\n".join(told))
    return answer.exit_status


def _environment(words: list[str] | None) -> dict[str, str]:
    from proftool.errors import UsageError

    found: dict[str, str] = {}
    for word in words or ():
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise UsageError(f"`{word}` sets nothing", cause="it has no `=`", fix="write NAME=VALUE")
        found[name] = value
    return found
