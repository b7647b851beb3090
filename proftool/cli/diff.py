"""`proftool diff`: what changed between two sides, and how sure that is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from proftool.cli.options import RUN_HELP, Json, Metric, Open, Output, Quiet

if TYPE_CHECKING:
    from pathlib import Path

    from proftool.settings import Settings
    from proftool.workflows.compare import Compared


def diff(
    base: Annotated[str, typer.Argument(metavar="BASE", help=RUN_HELP + " A label or commit of several runs names them all.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The same, for what is compared with it.")],
    metric: Metric = None,
    force: Annotated[bool, typer.Option("--force", help="Compare what is not comparable.")] = False,
    fail_on: Annotated[
        str | None, typer.Option("--fail-on", metavar="RULE", help="Exit 1 where a function meets it: 'self>5% q<0.05'.")
    ] = None,
    open_: Open = False,
    output: Output = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Compare two runs, or two sets of runs."""
    from pathlib import Path

    from proftool import settings
    from proftool.cli import output as streams
    from proftool.store import open_store
    from proftool.workflows.compare import compare

    streams.set_quiet(quiet)
    if output is not None:
        check_output(output)
    found = settings.load()
    compared = compare(base, new, open_store(found), Path.cwd(), metric=metric, force=force, floor_share=found.diff_floor)
    return present(compared, found, fail_on=fail_on, out=output, open_=open_, json=json)


def present(compared: Compared, settings: Settings, *, fail_on: str | None, out: Path | None, open_: bool, json: bool) -> int:
    """Print, write or open a comparison; the exit status that `--fail-on` gives it."""
    from proftool.cli import output as streams
    from proftool.contracts import ReportOptions
    from proftool.workflows.gate import gate, parse_rule

    answer = compared.diff
    if fail_on is not None:
        parse_rule(fail_on, answer.metric.name, answer.metric.unit)
    if not show(compared, settings, out=out, open_=open_, json=json):
        from proftool.reports.diff import render_text

        color = streams.has_color(sys.stdout)
        streams.data(render_text(answer, ReportOptions(width=streams.width(), color=color)), end="")
    if fail_on is None:
        return 0
    gated = gate(answer, fail_on)
    names = ", ".join(f"`{_name(compared, c.function)}`" for c in gated.functions[:5])
    streams.talk(f"{gated.outcome}: {gated.rule}" + (f": {names}" if names else ""))
    return gated.outcome.exit_status


def show(compared: Compared, settings: Settings, *, out: Path | None, open_: bool, json: bool) -> bool:
    """The diff as a file, as the document on stdout, in a browser; False where none of these was asked for."""
    from proftool.cli import output as streams
    from proftool.workflows.history import write_file

    if out is not None:
        write_file(out, _content(compared, out, settings))
        streams.talk(f"wrote `{out}`")
    if json:
        streams.document(document(compared))
    if open_:
        _show(compared, out, settings)
    return out is not None or json or open_


def document(compared: Compared) -> dict[str, object]:
    """The JSON document of a comparison."""
    from proftool.reports.diff_document import diff_document
    from proftool.workflows.compare import side_document

    d = compared.diff
    return diff_document(
        d,
        side_document(compared.base, d.base.name, d.base.metas[-1], len(d.base.metas)),
        side_document(compared.new, d.new.name, d.new.metas[-1], len(d.new.metas)),
    )


def _name(compared: Compared, function: int) -> str:
    profile = compared.diff.profile
    return profile.text(int(profile.functions.qualname[function]))


def _content(compared: Compared, path: object, settings: Settings) -> bytes:
    import json
    from pathlib import Path

    check_output(Path(str(path)))
    match Path(str(path)).suffix:
        case ".html" | ".htm":
            return _page(compared, settings)
        case ".json":
            return json.dumps(document(compared), ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace")
        case _:
            from proftool.reports.diff_markdown import render_markdown

            return render_markdown(compared.diff).encode("utf-8", "backslashreplace")


def check_output(path: Path) -> None:
    """UsageError for a file whose ending is no form of a diff."""
    from proftool.errors import UsageError

    if path.suffix not in (".html", ".htm", ".json", ".md"):
        raise UsageError(
            f"a diff is not written as `{path.suffix or path}`",
            cause="the file's ending says the form",
            fix="end it in .html, .md or .json",
        )


def _page(compared: Compared, settings: Settings) -> bytes:
    from proftool.reports.flamegraph import report
    from proftool.workflows.report import page_options

    return report.render_diff(compared.diff, page_options(settings))


def _show(compared: Compared, output: object, settings: Settings) -> None:
    import tempfile
    import webbrowser
    from pathlib import Path

    from proftool.cli import output as streams

    if output is not None and str(output).endswith((".html", ".htm")):
        path = Path(str(output)).resolve()
    else:
        with tempfile.NamedTemporaryFile(prefix="proftool-diff-", suffix=".html", delete=False) as file:
            file.write(_page(compared, settings))
            path = Path(file.name)
    try:
        shown = webbrowser.open(path.as_uri())
    except webbrowser.Error:
        shown = False
    streams.talk(f"{'opened' if shown else 'no browser here; the page is'} `{path}`")
