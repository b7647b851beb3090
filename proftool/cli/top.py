"""`proftool top`: what a process does at the moment, live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from proftool.workflows.top import Look


def top(
    pid: Annotated[int, typer.Argument(metavar="PID", help="The process.")],
    every: Annotated[str, typer.Option("--every", metavar="TIME", help="Time between two pictures.")] = "1s",
    rate: Annotated[float | None, typer.Option("--rate", metavar="HZ", help="Samples a second.")] = None,
    children: Annotated[bool, typer.Option("--children/--no-children", help="Also its child processes (default: yes).")] = True,
) -> int:
    """Show the functions that a process works in, until Ctrl-C or its end; needs a terminal."""
    import sys
    import threading

    from rich.console import Console
    from rich.live import Live

    from proftool.errors import UsageError
    from proftool.launch.attach import interrupts
    from proftool.units import NS_PER_MS, duration_ns
    from proftool.workflows import top as workflow
    from proftool.workflows.attach import command_line

    if not sys.stdout.isatty():
        raise UsageError(
            "`proftool top` has no terminal",
            cause="it draws a live picture",
            fix=f"`proftool dump {pid}`, or `proftool attach {pid} --duration 10s`",
        )
    try:
        every_ns = duration_ns(every)
    except ValueError as error:
        raise UsageError(f"`--every {every}`", cause=str(error), fix="`--every 2s`") from error
    if every_ns < 200 * NS_PER_MS:
        raise UsageError(f"`--every {every}` is too often", cause="a picture needs 0.2 s of samples", fix="`--every 1s`")
    stop = threading.Event()
    command = command_line(pid)
    console = Console()
    with interrupts(stop):
        live: Live | None = None
        try:
            for look in workflow.looks(pid, every_ns=every_ns, rate_hz=rate, children=children, stop=stop):
                picture = _picture(look, pid, command, max(console.size.height - 4, 3))
                if live is None:
                    live = Live(picture, console=console, screen=True, auto_refresh=False)
                    live.start(refresh=True)
                else:
                    live.update(picture, refresh=True)
        finally:
            if live is not None:
                live.stop()
    return 0


def _picture(look: Look, pid: int, command: str, height: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    from proftool.units import Unit, people, percent

    busy = percent(look.busy_ns, look.observed_ns)
    title = (
        f"process {pid} · {command}\n{look.n_processes} processes · {look.n_threads} threads · {busy} of a core · {look.samples} samples"
    )
    table = Table(title=Text(title), title_justify="left", box=None, expand=True, caption=Text("Ctrl-C ends"), caption_justify="left")
    for name, width in (("self", 8), ("total", 8), ("self so far", 12)):
        table.add_column(name, justify="right", width=width, no_wrap=True)
    table.add_column("function", no_wrap=True, overflow="ellipsis")
    table.add_column("where", no_wrap=True, overflow="ellipsis")
    for line in look.lines[:height]:
        shares = (
            percent(line.self_ns, look.observed_ns),
            percent(line.total_ns, look.observed_ns),
            people(line.self_before_ns, Unit.NANOSECONDS),
        )
        table.add_row(*shares, Text(line.name), Text(line.where))
    return table
