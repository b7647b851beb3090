"""`proftool attach`: record a running process."""

from __future__ import annotations

from typing import Annotated

import typer

from proftool.cli import options, output


def attach(
    pid: Annotated[int | None, typer.Argument(metavar="PID", help="The process.")] = None,
    match: Annotated[
        str | None, typer.Option("--match", metavar="TEXT", help="The process whose command line holds TEXT, with its workers.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Say which backends can attach, and what the others need; touch nothing.")] = False,
    duration: Annotated[str | None, typer.Option("--duration", metavar="TIME", help="30s, 2m; else until Ctrl-C or its end.")] = None,
    mode: Annotated[str | None, typer.Option("--mode", metavar="MODE", help="sample (default) or memory.")] = None,
    backend: Annotated[str | None, typer.Option("--backend", metavar="NAME", help="py-spy or memray; else chosen, and said.")] = None,
    clock: Annotated[str | None, typer.Option("--clock", metavar="CLOCK", help="wall (default) or cpu.")] = None,
    rate: Annotated[float | None, typer.Option("--rate", metavar="HZ", help="Samples a second.")] = None,
    native: Annotated[bool, typer.Option("--native", help="Also frames of C, C++ and Rust.")] = False,
    children: Annotated[bool | None, typer.Option("--children/--no-children", help="Also record child processes (default: yes).")] = None,
    label: options.Label = None,
    open_: options.Open = False,
    out: options.Output = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Record a running process until the time is up, Ctrl-C, or its end; it lives on."""
    from proftool.workflows import attach as workflow

    output.set_quiet(quiet)
    target = workflow.find(pid, match)
    if check:
        return _tell_check(target, json=json)

    from proftool import settings as settings_file
    from proftool.cli.recording import tell_recorded
    from proftool.errors import UsageError
    from proftool.store import open_store
    from proftool.units import duration_ns
    from proftool.workflows.choose import Wishes

    try:
        limit_ns = None if duration is None else duration_ns(duration)
    except ValueError as error:
        raise UsageError(f"`--duration {duration}`", cause=str(error), fix="`--duration 30s`") from error
    if limit_ns == 0:
        raise UsageError("`--duration 0` records nothing", cause="a recording needs time", fix="`--duration 30s`")
    if out is not None:
        from proftool.workflows.report import check_output

        check_output(out)
    settings = settings_file.load()
    store = open_store(settings)
    wishes = Wishes(
        modes=() if mode is None else (mode,),
        backends=() if backend is None else (backend,),
        clock=clock,
        rate_hz=rate,
        native=native,
        children=children,
    )
    request = workflow.Request(pid=target, wishes=wishes, duration_ns=limit_ns, label=label)
    recorded = workflow.attach(request, store, settings, say=output.talk)
    tell_recorded(recorded, store, settings, out=out, open_=open_, json=json)
    return recorded.exit_status


def _tell_check(pid: int, *, json: bool) -> int:
    from proftool.contracts import Available
    from proftool.workflows import attach as workflow

    answers = workflow.check(pid)
    if json:
        rows = [
            {"backend": one.backend, "can": True, "version": one.answer.version}
            if isinstance(one.answer, Available)
            else {"backend": one.backend, "can": False, "cause": one.answer.cause, "fix": one.answer.fix}
            for one in answers
        ]
        output.document({"schema": "proftool.check/1", "pid": pid, "command": workflow.command_line(pid), "backends": rows})
        return workflow.refusals(answers)
    output.data(f"process {pid}: {workflow.command_line(pid)}")
    for one in answers:
        if isinstance(one.answer, Available):
            output.data(f"  {one.backend:<13} can attach ({one.answer.version}): {one.summary}")
        else:
            output.data(f"  {one.backend:<13} cannot: {one.answer.cause}\n{'':15} fix: {one.answer.fix}")
    return workflow.refusals(answers)
