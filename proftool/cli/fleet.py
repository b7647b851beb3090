"""`proftool fleet`: continuous profiles of many processes: what is held, one flame graph of all, two versions compared."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from proftool.cli import options, output

fleet = typer.Typer(help="Continuous profiles of many processes, kept in ClickHouse (PROFTOOL_FLEET).", rich_markup_mode=None)

Service = Annotated[str, typer.Argument(metavar="SERVICE", help="The name that its processes send under.")]
Last = Annotated[str, typer.Option("--last", metavar="TIME", help="How far back: 30m, 1h, 7d.")]
Route = Annotated[str | None, typer.Option("--route", metavar="ROUTE", help="Only what served it: 'GET /orders/{id}'.")]


@fleet.command("services")
def services(last: Last = "7d", json: options.Json = False, quiet: options.Quiet = False) -> None:
    """List services and their versions, the last seen first."""
    from proftool import settings
    from proftool.units import Unit, people
    from proftool.workflows import fleet as work

    output.set_quiet(quiet)
    held = work.services(work.open_fleet(settings.load()), _stretch(last))
    if json:
        output.document(work.services_document(held))
        return
    if not held:
        output.talk(f"no service has sent anything in the last {last}")
        return
    rows = [(one.service, one.version or "(none)", f"{one.processes}", f"{one.hosts}", people(one.samples, Unit.COUNT)) for one in held]
    rows = [("service", "version", "processes", "hosts", "samples"), *rows]
    wide = [max(len(row[at]) for row in rows) for at in range(5)]
    for row in rows:
        cells = [text.ljust(width) if at < 2 else text.rjust(width) for at, (text, width) in enumerate(zip(row, wide, strict=True))]
        output.data("  ".join(cells).rstrip())


@fleet.command("flame")
def flame(
    service: Service,
    last: Last = "1h",
    version: Annotated[str | None, typer.Option("--version", metavar="V", help="Only this version.")] = None,
    route: Route = None,
    metric: options.Metric = None,
    label: Annotated[str | None, typer.Option("--label", metavar="TEXT", help="Keep it as a run of this name.")] = None,
    open_: options.Open = False,
    out: options.Output = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Merge what all processes of a service did into one flame graph."""
    from proftool import settings
    from proftool.contracts import ReportOptions
    from proftool.reports import summary, table
    from proftool.reports.rows import By
    from proftool.store import open_store
    from proftool.workflows import fleet as work
    from proftool.workflows import open as opening
    from proftool.workflows import report

    output.set_quiet(quiet)
    if out is not None:
        report.check_output(out)
    found = settings.load()
    profile = work.flame(work.open_fleet(found), service, _stretch(last), version=version, route=route)
    table.metric_of(profile, metric)
    store = open_store(found)
    run = store.add(profile, label=label) if label is not None else None
    if out is not None:
        report.write(profile, out, found, run=run)
        output.talk(f"wrote `{out}`")
    if open_:
        output.talk(opening.open_page(profile, run, found, store, metric))
    if json:
        output.document(report.show_document(profile, run))
    elif out is None and not open_:
        chosen = ReportOptions(metric=metric, width=output.width(), color=output.has_color(sys.stdout), limit=20)
        output.data(summary.text(profile, chosen, run))
        output.data("")
        output.data(table.table(profile, chosen, By.FUNCTION, None))
    if run is not None:
        output.talk(f"kept as run {run.id}")


@fleet.command("diff")
def diff(
    service: Service,
    version: Annotated[tuple[str, str], typer.Option("--version", metavar="BASE NEW", help="The two versions.")],
    last: Last = "7d",
    route: Route = None,
    metric: options.Metric = None,
    force: Annotated[bool, typer.Option("--force", help="Compare what is not comparable.")] = False,
    fail_on: Annotated[
        str | None, typer.Option("--fail-on", metavar="RULE", help="Exit 1 where a function meets it: 'self>5% q<0.05'.")
    ] = None,
    open_: options.Open = False,
    out: options.Output = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Compare two versions of a service, per second of observation; processes are the repeats."""
    from proftool import settings
    from proftool.cli import diff as diffing
    from proftool.workflows import fleet as work

    output.set_quiet(quiet)
    if out is not None:
        diffing.check_output(out)
    found = settings.load()
    compared = work.diff_versions(
        work.open_fleet(found), service, version, _stretch(last), route=route, metric=metric, force=force, floor_share=found.diff_floor
    )
    return diffing.present(compared, found, fail_on=fail_on, out=out, open_=open_, json=json)


@fleet.command("setup")
def setup(
    keep: Annotated[str | None, typer.Option("--keep", metavar="TIME", help="How long every slice is kept: 7d at first.")] = None,
    keep_hours: Annotated[
        str | None, typer.Option("--keep-hours", metavar="TIME", help="How long sums of whole hours are kept: 90d at first.")
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Make the fleet's tables, or change how long their rows are kept. Services make missing tables themselves where they may."""
    from proftool import settings
    from proftool.workflows import fleet as work

    output.set_quiet(quiet)
    opened = work.open_fleet(settings.load())
    opened.set_up(_days("--keep", keep), _days("--keep-hours", keep_hours))
    raw, hours = opened.kept_days()
    output.talk(f"`{opened.engine.shown}` is ready: slices are kept for {raw} days, sums of hours for {hours}")


def _stretch(last: str):  # type stands in workflows, which is not loaded for `--help`
    from proftool.workflows.fleet import Stretch

    return Stretch.last(_duration("--last", last))


def _duration(option: str, text: str) -> int:
    from proftool.errors import UsageError
    from proftool.units import duration_ns

    try:
        found = duration_ns(text)
    except ValueError as error:
        raise UsageError(f"`{option} {text}` is no time", cause=str(error), fix=f"write `{option} 1h`, `30m` or `7d`") from error
    if found <= 0:
        raise UsageError(f"`{option} {text}` is no time", cause="it has no length", fix=f"write `{option} 1h`, `30m` or `7d`")
    return found


def _days(option: str, text: str | None) -> int | None:
    from proftool.units import NS_PER_S

    return None if text is None else max(1, round(_duration(option, text) / (86400 * NS_PER_S)))
