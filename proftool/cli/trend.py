"""`proftool trend`: one function over the stored runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from proftool.cli import options, output

if TYPE_CHECKING:
    from collections.abc import Sequence


def trend(
    function: Annotated[str, typer.Argument(metavar="FUNCTION", help="`qualname`, `module:qualname`, or its bare name.")],
    metric: options.Metric = None,
    limit: Annotated[int, typer.Option(min=1, help="So many of the newest runs.")] = 300,
    every: Annotated[bool, typer.Option("--all", help="Runs of every command, not only of the last that ran it.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what a function took in one run after the other; of each run the largest functions are known."""
    import time

    from proftool import settings
    from proftool.store import open_store
    from proftool.units import NS_PER_S, ago, people, unit_of
    from proftool.workflows import trend as work

    output.set_quiet(quiet)
    found = work.trend(function, open_store(settings.load()), metric=metric, limit=limit, every=every)
    if json:
        output.document(work.trend_document(found))
        return
    one = found.trend
    unit = unit_of(one.metric)
    own = [point.self_value for point in one.points]
    output.data(f"{one.module}:{one.qualname}  {one.metric}, self, over {len(own)} {'run' if len(own) == 1 else 'runs'}")
    output.data(f"{spark(own, output.width() - 2)}  {people(min(own), unit)} … {people(max(own), unit)}")
    output.data("")
    now_ns = time.time_ns()
    rows = [("run", "when", "commit", "self", "total", "label")]
    for point in one.points[-20:]:
        age = ago((now_ns - point.added_ns) / NS_PER_S)
        commit = (point.commit or "")[:10]
        rows.append((point.run_id, age, commit, people(point.self_value, unit), people(point.total, unit), point.label or ""))
    wide = [max(len(row[at]) for row in rows) for at in range(6)]
    for row in rows:
        cells = [text.rjust(size) if at in (3, 4) else text.ljust(size) for at, (text, size) in enumerate(zip(row, wide, strict=True))]
        output.data("  ".join(cells).rstrip())
    if len(one.points) > 20:
        output.talk(f"{len(one.points) - 20} older runs are in the line above and in `--json`")
    if found.other_commands:
        others = "another command" if found.other_commands == 1 else f"{found.other_commands} other commands"
        output.talk(f"{others} ran it too: `--all` shows runs of every command")


def spark(values: Sequence[int], width: int) -> str:
    """A line of bars from 0 to the largest; where there are more values than columns, the largest of each column's."""
    from proftool.units import BARS

    top = max(values) or 1
    n = min(len(values), width)
    columns = [max(values[len(values) * at // n : len(values) * (at + 1) // n]) for at in range(n)]
    return "".join(BARS[min(value * len(BARS) // top, len(BARS) - 1)] for value in columns)
