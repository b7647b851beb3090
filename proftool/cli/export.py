"""`proftool export`: a run as a file of another tool's format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proftool.cli import options
from proftool.cli import output as streams


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id or prefix, label, @latest, @GITREF, or a file.")] = "@latest",
    format: Annotated[str | None, typer.Option("--format", "-f", help="collapsed, speedscope, pstats, pyinstrument, native, html.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; default: stdout.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """Write a run in another format, and say what that format cannot hold."""
    import sys

    from proftool import settings
    from proftool.errors import UsageError
    from proftool.store import open_store
    from proftool.workflows.history import export_run, format_of, write_file

    streams.set_quiet(quiet)
    piped = output is None or str(output) == "-"
    name = format or (None if piped or output is None else format_of(output))
    if name is None:
        raise UsageError(
            "which format?",
            cause="the file's ending names none" if not piped else "no `-f` is given",
            fix="add `-f collapsed`, `speedscope`, `pstats`, `pyinstrument`, `native` or `html`",
        )
    found = settings.load()
    done = export_run(run, name, open_store(found), Path.cwd(), max_html_bytes=found.html_size_bytes, editor=found.editor)
    if piped or output is None:
        if sys.stdout.isatty() and b"\0" in done.content[:4096]:
            raise UsageError(
                f"`{name}` is binary, and stdout is a terminal", cause="it would garble the screen", fix="name a file with `-o`"
            )
        sys.stdout.buffer.write(done.content)
        sys.stdout.flush()
    else:
        write_file(output, done.content)
        streams.talk(f"run {done.name} as {name}: {output}")
    for sentence in done.lost:
        streams.talk(f"lost: {sentence}")
