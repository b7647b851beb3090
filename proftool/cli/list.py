"""`proftool list`: stored runs, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from proftool.cli import options, output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from proftool.contracts_store import Run

PEOPLE_LIMIT = 30
"""Rows on a screen where no `--limit` is given; programs get all."""


def list_(
    label: Annotated[str | None, typer.Option(help="Only runs that bear this label.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many; default 30, with --json all.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The document proftool.list/1 on stdout.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """List stored runs, newest first."""
    from proftool import settings
    from proftool.store import open_store
    from proftool.workflows.history import list_document, list_runs

    output.set_quiet(quiet)
    store = open_store(settings.load())
    if json:
        output.document(list_document(list_runs(store, label=label, limit=limit)))
        return
    shown = limit or PEOPLE_LIMIT
    runs = list_runs(store, label=label, limit=shown + 1)
    if not runs:
        bears = f" bears the label `{label}`" if label else ""
        output.talk(f"no run{bears} in `{store.place.folder}`; `proftool run app.py` records one")
        return
    _print(runs[:shown])
    if len(runs) > shown:
        output.talk(f"older runs are not shown: `proftool list --limit {shown * 10}`")


def _print(runs: Sequence[Run]) -> None:
    import shutil
    import sys

    from rich.console import Console

    # A pipe gets whole lines; only a screen has an edge.
    screen = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if screen else 10_000
    # Without colour nothing is bold either: no escape sequence reaches a file, nor a screen that was told NO_COLOR.
    color = output.has_color(sys.stdout)
    console = Console(
        file=sys.stdout, width=width, highlight=False, markup=False, force_terminal=color, color_system="auto" if color else None
    )
    console.print(_table(runs, width), soft_wrap=not screen)


def _table(runs: Sequence[Run], width: int) -> Table:
    import time

    from rich.table import Table
    from rich.text import Text

    from proftool.units import NS_PER_S, ago

    now_ns = time.time_ns()
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    colours = {"good": "green", "weak": "yellow", "poor": "red"}
    # A narrow screen keeps what a run is told apart by.
    columns = ["id", "when", "label", "command", "mode", "total", "status", "quality"]
    for least, name in ((100, "quality"), (84, "mode"), (72, "status"), (56, "total"), (40, "when")):
        if width < least:
            columns.remove(name)
    if not any(run.label for run in runs):
        columns.remove("label")
    rows: list[dict[str, Text]] = []
    for run in runs:
        verdict = run.quality.verdict if run.quality else ""
        cells = {
            "id": Text(run.id, style="cyan"),
            "when": Text(ago((now_ns - run.added_ns) / NS_PER_S)),
            "label": Text(run.label or "", style="bold"),
            "command": Text(_command(run)),
            "mode": Text(", ".join(run.modes)),
            "total": Text(_total(run)),
            "status": Text("" if run.exit_status is None else str(run.exit_status), style="red" if run.exit_status else ""),
            "quality": Text(verdict, style=colours.get(verdict, "")),
        }
        rows.append(cells)
    wide = {name: max(len(name), *(row[name].cell_len for row in rows)) for name in columns}
    wide["label"] = min(wide.get("label", 0), 24 if width >= 100 else 10) if width < 10_000 else wide.get("label", 0)
    # The command takes what the others leave; they are never cut for it.
    wide["command"] = max(8, width - sum(wide[name] + 2 for name in columns if name != "command"))
    for name in columns:
        side = "right" if name in ("total", "status") else "left"
        table.add_column(name, justify=side, no_wrap=True, overflow="ellipsis", max_width=wide[name])
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    return table


def _command(run: Run) -> str:
    import shlex

    # One line whatever the command holds: `-c` takes programs of many lines.
    return "" if run.command is None else " ".join(shlex.join(run.command).split())


def _total(run: Run) -> str:
    from proftool.units import Unit, people

    shown = {"wall_time": Unit.NANOSECONDS, "cpu_time": Unit.NANOSECONDS, "peak_bytes": Unit.BYTES, "allocated_bytes": Unit.BYTES}
    found = [people(run.totals[name], unit) for name, unit in shown.items() if name in run.totals]
    times, sizes = [t for t in found if not t.endswith("B")][:1], [t for t in found if t.endswith("B")][:1]
    if not times and not sizes and run.totals:
        name, value = next(iter(run.totals.items()))
        return f"{people(value, Unit.COUNT)} {name}"
    return ", ".join(times + sizes)
