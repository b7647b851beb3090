"""`proftool bench`: benchmarks of files, a value a fresh process, with their spread."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from proftool.bench.failures import Failure
from proftool.cli.options import Json, Quiet


def bench(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH…", help="Files, or folders with bench_*.py; tests with the fixture `benchmark`; a JSON of results."),
    ] = None,
    processes: Annotated[int, typer.Option("--processes", min=3, max=1000, help="Fresh processes for each benchmark.")] = 12,
    instructions: Annotated[bool, typer.Option("--instructions", help="Count CPU instructions instead of time.")] = False,
    history: Annotated[bool, typer.Option("--history", help="Show what was measured on this machine before, with its changes.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Also write FILE: .html, or .json of --format.")
    ] = None,
    format: Annotated[str, typer.Option("--format", help="Of a .json: proftool, pyperf or pytest-benchmark.")] = "proftool",
    python: Annotated[Path | None, typer.Option("--python", help="The interpreter that runs them.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Measure functions named bench_* of files named bench_*.py, tests with a `benchmark`, or, after `--`, a command."""
    from proftool import settings
    from proftool.bench.report import measurement_document, measurement_lines
    from proftool.cli import output as streams
    from proftool.errors import BackendFailed
    from proftool.store.place import find_place
    from proftool.workflows import bench as work
    from proftool.workflows import bench_history as past
    from proftool.workflows.history import write_file

    streams.set_quiet(quiet)
    folder = find_place(settings.load()).folder
    after: tuple[str, ...] | None = context.obj
    if history:
        series = past.series(folder, [path.as_posix() for path in paths or ()])
        if json:
            streams.document(past.document(series))
        else:
            streams.data("\n".join(past.lines(series)))
        return 0
    check = past.writer(output, format)
    files = [path for path in paths or () if path.suffix == ".json"]
    failed: tuple[Failure, ...] = ()
    if files:
        rows = past.read(files)
    elif instructions:
        from proftool.workflows import instructions as counting

        rows = counting.bench(paths or [], after, python=work.interpreter(python), say=streams.progress)
    else:
        interpreter = work.interpreter(python)
        session = (
            work.bench_command(after, python=interpreter, processes=processes, say=streams.progress)
            if after
            else work.bench(paths or [], python=interpreter, processes=processes, say=streams.progress)
        )
        rows, failed = session.rows, session.failed
        past.keep(folder, rows, interpreter)
    if output is not None and check is not None:
        write_file(output, check(rows, failed))
        streams.talk(f"wrote `{output}`")
    if json:
        streams.document(measurement_document(rows, failed))
    else:
        streams.data("\n".join([*measurement_lines(rows), *(one.line for one in failed)]))
    return BackendFailed.exit_code if failed else 0
