"""`proftool incidents`: what alerts of services left, and where they point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from proftool.cli import options, output

if TYPE_CHECKING:
    from proftool.contracts_incidents import Incident
    from proftool.workflows.incidents import Opened


def incidents(
    name: Annotated[str | None, typer.Argument(metavar="[INCIDENT]", help="One of them, by its id or the beginning of it.")] = None,
    service: Annotated[str | None, typer.Option(metavar="NAME", help="Only of that service.")] = None,
    firing: Annotated[bool, typer.Option("--firing", help="Only those that are not over.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    json: Annotated[bool, typer.Option("--json", help="proftool.incidents/1 on stdout; of one, proftool.incident/1.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """List alerts that services told, newest first; or show one: what, since when, and the lines of code it points at."""
    from proftool import settings
    from proftool.workflows import incidents as flow

    output.set_quiet(quiet)
    found = settings.load()
    if name is not None:
        opened = flow.load_incident(name, found)
        if json:
            output.document(flow.incident_document(opened))
        else:
            _show(opened)
        return
    listed = flow.list_incidents(found, service=service, firing=firing, limit=limit)
    if json:
        output.document(flow.incidents_document(listed))
        return
    if not listed:
        output.talk("no incidents; rules stand in [tool.proftool.alerts.NAME] and `proftool.watch(…)` looks at them")
        return
    for one in listed:
        output.data(_line(one))


def _line(one: Incident) -> str:
    at = f"  {one.suspects[0].function} ({one.suspects[0].file}:{one.suspects[0].line})" if one.suspects else ""
    return f"{one.id}  {_when(one.began_ns)}  {one.state:<8}  {_lasted(one):>8}  {one.service}  {one.alert}: {one.text}{at}"


def _show(opened: Opened) -> None:
    one = opened.incident
    over = "is firing" if one.state == "firing" else f"was {one.state}"
    output.data(f"{one.alert} of {one.service} {over}: {one.text}")
    ended = "" if one.ended_ns is None else f" until {_when(one.ended_ns)}"
    output.data(f"since {_when(one.began_ns)}{ended}, {_lasted(one)}" + (f", {one.route}" if one.route else ""))
    v = one.version
    facts = [f"commit {v.commit[:12]}{' with edits' if v.dirty else ''}" if v.commit else None, v.python, v.host]
    output.data("of " + ", ".join(fact for fact in facts if fact))
    output.data("")
    if not opened.suspects:
        output.data("nothing points at a line of the project's code")
    for suspect in opened.suspects:
        output.data(f"{suspect.function} ({suspect.file}:{suspect.line})  [{suspect.confidence}]")
        for sentence in suspect.evidence:
            output.data(f"  {sentence}")
        if suspect.advice:
            output.data(f"  do: {suspect.advice}")
    for note in opened.notes:
        output.talk(f"note: {note}")
    output.talk(f"`proftool open {one.id}` shows its profile, requests and measures")


def _when(time_ns: int) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(time_ns / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _lasted(one: Incident) -> str:
    seconds = round(one.duration_ns / 1e9)
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
