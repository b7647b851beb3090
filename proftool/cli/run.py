"""`proftool run`: record a program from its start to its end. Plain command lines come by way of `direct.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proftool.cli import options
from proftool.cli.recording import Asked, run_program


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
    asked = Asked(
        words=tuple(words or ()),
        module=module,
        code=code,
        mode=tuple(mode or ()),
        backend=tuple(backend or ()),
        clock=clock,
        rate=rate,
        native=native,
        children=children,
        python=python,
        runs=runs,
        against=against,
        label=label,
        open_=open_,
        out=out,
        json=json,
        quiet=quiet,
    )
    return run_program(asked)
