"""`proftool run`: record a program from its start to its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proftool.cli import options, output

if TYPE_CHECKING:
    from proftool.settings import Settings
    from proftool.store.runs import SqlRunStore
    from proftool.workflows.record import Recorded


def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[--] TARGET [ARG]...", help="script.py, a console script, or any command line of a Python."),
    ] = None,
    module: Annotated[str | None, typer.Option("-m", metavar="MODULE", help="Run a module, as `python -m` does.")] = None,
    code: Annotated[str | None, typer.Option("-c", metavar="CODE", help="Run a piece of code, as `python -c` does.")] = None,
    mode: Annotated[
        list[str] | None,
        typer.Option("--mode", metavar="MODE", help="sample (default), trace or memory; several: one pass of the target each."),
    ] = None,
    backend: Annotated[
        list[str] | None, typer.Option("--backend", metavar="NAME", help="pyinstrument, py-spy, cprofile or memray; else chosen, and said.")
    ] = None,
    clock: Annotated[str | None, typer.Option("--clock", metavar="CLOCK", help="wall (default) or cpu.")] = None,
    rate: Annotated[float | None, typer.Option("--rate", metavar="HZ", help="Samples a second.")] = None,
    native: Annotated[bool, typer.Option("--native", help="Also frames of C, C++ and Rust.")] = False,
    children: Annotated[bool | None, typer.Option("--children/--no-children", help="Also record child processes (default: yes).")] = None,
    python: Annotated[Path | None, typer.Option("--python", metavar="PATH", help="The interpreter to run the target with.")] = None,
    runs: Annotated[
        int | None, typer.Option("--runs", metavar="N", help="Run the target N times and keep N runs; with --against: of each side.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="BASE",
            help="Record BASE (a run, or a git revision at which the same command is run) and this program in turn, and compare them.",
        ),
    ] = None,
    label: options.Label = None,
    open_: options.Open = False,
    out: options.Output = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Run a program and record where its time or memory goes; exits with the program's own status."""
    from proftool import settings as settings_file
    from proftool.launch import targets
    from proftool.store import open_store
    from proftool.workflows import record

    output.set_quiet(quiet)
    settings = settings_file.load()
    wishes = record.Wishes(
        modes=tuple(mode or ()), backends=tuple(backend or ()), clock=clock, rate_hz=rate, native=native, children=children
    )
    stdout = 2 if json else None
    if against is not None:
        from proftool.cli import run_against

        return run_against.run(
            run_against.Asked(against=against, words=tuple(words or ()), module=module, code=code, python=python),
            wishes,
            settings,
            runs=runs,
            label=label,
            stdout=stdout,
            shown=run_against.Shown(open=open_, out=out, json=json),
        )
    request = record.Request(
        program=targets.resolve(words or (), module=module, code=code, python=python),
        wishes=wishes,
        runs=1 if runs is None else runs,
        label=label,
        stdout=stdout,
    )
    if out is not None:
        from proftool.workflows.report import check_output

        check_output(out)
    store = open_store(settings)
    recorded = record.record(request, store, settings, say=output.talk)
    tell_recorded(recorded, store, settings, out=out, open_=open_, json=json)
    return recorded.exit_status


def tell_recorded(recorded: Recorded, store: SqlRunStore, settings: Settings, *, out: Path | None, open_: bool, json: bool) -> None:
    """Say what was recorded: summaries and losses on stderr, the document on stdout, the report in its file and the browser."""
    import sys
    from dataclasses import replace

    from proftool import insights
    from proftool.contracts import ReportOptions
    from proftool.reports import summary
    from proftool.workflows import history, report

    shown = ReportOptions(width=output.width(), color=output.has_color(sys.stderr))
    for kept in recorded.kept:
        if not output.is_quiet():
            before = None if kept.run is None else history.comparable_before(kept.run, store)
            found = insights.find(kept.profile)
            output.talk(summary.text(kept.profile, replace(shown, insights=found), kept.run, before))
    for notice in store.take_notices():
        output.talk(notice)
    for loss in recorded.losses:
        output.complain(f"error: {loss.what}\ncause: {loss.cause}\nfix:   {loss.fix}")
    if not recorded.kept:
        return
    last = recorded.kept[-1]
    if json:
        output.document(report.show_document(last.profile, last.run))
    if out is not None:
        report.write(last.profile, out, settings, run=last.run)
        output.talk(f"written to {out}")
    if open_:
        from proftool.workflows import open as opening

        output.talk(opening.open_page(last.profile, last.run, settings, store))
