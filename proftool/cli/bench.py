"""`proftool bench`: benchmarks of files, a value a fresh process, with their spread."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proftool.cli.options import Json, Quiet


def bench(
    paths: Annotated[list[Path] | None, typer.Argument(metavar="PATH…", help="Files, or folders with bench_*.py; default: here.")] = None,
    processes: Annotated[int, typer.Option("--processes", min=3, max=1000, help="Fresh processes for each benchmark.")] = 12,
    python: Annotated[Path | None, typer.Option("--python", help="The interpreter that runs them.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Measure functions named bench_* of files named bench_*.py."""
    from proftool.bench.report import measurement_document, measurement_lines
    from proftool.cli import output as streams
    from proftool.workflows import bench as work

    streams.set_quiet(quiet)
    rows = work.bench(paths or [], python=work.interpreter(python), processes=processes, say=streams.progress)
    if json:
        streams.document(measurement_document(rows))
    else:
        streams.data("\n".join(measurement_lines(rows)))
    return 0
