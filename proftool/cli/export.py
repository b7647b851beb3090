"""`proftool export`: a run as a file of another tool's format, or sent to a server that takes profiles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proftool.cli import options
from proftool.cli import output as streams


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id or prefix, label, @latest, @GITREF, or a file.")] = "@latest",
    format: Annotated[
        str | None,
        typer.Option("--format", "-f", help="collapsed, speedscope, pprof, firefox, chrome, pstats, pyinstrument, otlp, native, html."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; default: stdout.")] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="URL", help="Send it instead: pyroscope+http://host:4040, otlp+http://host:4318, or https."),
    ] = None,
    service: Annotated[str | None, typer.Option(metavar="NAME", help="With --to: whose profile it is; default: its program.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """Write a run in another format and say what that cannot hold, or send it to Pyroscope or over OTLP."""
    import sys

    from proftool import settings
    from proftool.errors import UsageError
    from proftool.store import open_store
    from proftool.workflows.history import export_run, format_of, write_file

    streams.set_quiet(quiet)
    if to is not None:
        from proftool.workflows.outward import send_run

        if format is not None or output is not None:
            raise UsageError("`--to` takes no format and no file", cause="the URL says the form", fix="leave `-f` and `-o` out")
        sent = send_run(run, to, open_store(settings.load()), Path.cwd(), service=service)
        streams.talk(f"run {sent.name} to {sent.url} as {sent.service}")
        return
    if service is not None:
        raise UsageError("`--service` names whose profile is sent", cause="there is no `--to`", fix="add `--to URL`, or leave it out")
    piped = output is None or str(output) == "-"
    name = format or (None if piped or output is None else format_of(output))
    if name is None:
        raise UsageError(
            "which format?",
            cause="the file's ending names none" if not piped else "no `-f` is given",
            fix="add `-f collapsed`, `speedscope`, `pprof`, `firefox`, `chrome`, `pstats`, `pyinstrument`, `otlp`, `native` or `html`",
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
