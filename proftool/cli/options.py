"""Options that more than one verb has, with one spelling and one help text each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No talk on stderr; errors are still said.")]
Open = Annotated[bool, typer.Option("--open", help="Open the report in a browser; without one, say where it is.")]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", help="Write to FILE: .html report, .proftool run, .json, .md or a profile format."),
]
Label = Annotated[str | None, typer.Option("--label", metavar="TEXT", help="A name for the run.")]
Metric = Annotated[str | None, typer.Option("--metric", metavar="M", help="Which quantity: wall_time, calls, peak_bytes, …")]
RUN_HELP = "An id or its beginning, a label, @latest, @latest~1, @GITREF, or a file."
