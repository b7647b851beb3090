"""`proftool dump`: where every thread of a process is, now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from proftool.cli import options, output

if TYPE_CHECKING:
    from proftool.workflows.dump import Dump


def dump(
    pid: Annotated[int, typer.Argument(metavar="PID", help="The process.")],
    native: Annotated[bool, typer.Option("--native", help="Also frames of C, C++ and Rust.")] = False,
    children: Annotated[bool, typer.Option("--children/--no-children", help="Also its child processes (default: no).")] = False,
    json: options.Json = False,
) -> int:
    """Print every thread's stack, innermost call first."""
    from proftool.workflows import dump as workflow

    dumped = workflow.dump(pid, native=native, children=children)
    if json:
        output.document(workflow.document(dumped))
    else:
        output.data(_text(dumped))
    return 0


def _text(dumped: Dump) -> str:
    lines = [f"process {dumped.pid} · {dumped.python} · {dumped.command}"]
    for thread in dumped.threads:
        state = "running" if thread.running else "waiting"
        gil = ", holds the GIL" if thread.holds_gil else ""
        where = f" of process {thread.pid}" if thread.pid != dumped.pid else ""
        lines += ["", f"{thread.name or 'thread'} ({thread.tid}{where}) {state}{gil}"]
        for frame in thread.frames:
            lines.append(f"  {frame.name}  {frame.file}:{frame.line}")
            if frame.source:
                lines.append(f"      {frame.source}")
        if not thread.frames:
            lines.append("  (no Python code)")
    return "\n".join(lines)
