"""`proftool gate`: pass or fail for continuous integration, with Markdown for the pull request on stdout."""

from __future__ import annotations

from typing import Annotated

import typer

from proftool.cli.options import RUN_HELP, Json, Metric, Output, Quiet


def gate(
    base: Annotated[str | None, typer.Argument(metavar="BASE", help=RUN_HELP)] = None,
    new: Annotated[str | None, typer.Argument(metavar="NEW", help="The same, for what may be slower.")] = None,
    budgets: Annotated[bool, typer.Option("--budgets", help="Hold the project to [tool.proftool.budgets] instead.")] = False,
    rule: Annotated[str, typer.Option("--fail-on", metavar="RULE", help="What fails: 'self>5% q<0.05'.")] = "self>2% q<0.05",
    metric: Metric = None,
    force: Annotated[bool, typer.Option("--force", help="Compare what is not comparable.")] = False,
    output: Output = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Pass (0), fail (1) or inconclusive (10): is anything slower?"""
    from pathlib import Path

    from proftool import settings
    from proftool.cli import output as streams
    from proftool.cli.diff import document
    from proftool.reports.diff_markdown import render_markdown
    from proftool.store import open_store
    from proftool.workflows.compare import compare
    from proftool.workflows.gate import gate as hold
    from proftool.workflows.history import write_file

    streams.set_quiet(quiet)
    if budgets:
        from proftool.cli.budgets import hold_budgets

        return hold_budgets([name for name in (base, new) if name], json=json)
    if base is None or new is None:
        from proftool.errors import UsageError

        raise UsageError("nothing to compare", cause="BASE and NEW name the two runs", fix="`proftool gate @main @latest`, or `--budgets`")
    found = settings.load()
    compared = compare(base, new, open_store(found), Path.cwd(), metric=metric, force=force, floor_share=found.diff_floor)
    gated = hold(compared.diff, rule)
    text = render_markdown(compared.diff, outcome=str(gated.outcome), rule=gated.rule)
    if output is not None:
        write_file(output, text.encode("utf-8", "backslashreplace"))
    if json:
        streams.document(document(compared) | {"gate": {"outcome": str(gated.outcome), "rule": gated.rule}})
    elif output is None:
        streams.data(text, end="")
    streams.talk(f"{gated.outcome}: {gated.rule}")
    return gated.outcome.exit_status
