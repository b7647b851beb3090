"""What `proftool run` does once its words are understood, and how a recording is told; without the parser, which takes longer to load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proftool.cli import output

if TYPE_CHECKING:
    from proftool.settings import Settings
    from proftool.store.runs import SqlRunStore
    from proftool.workflows.record import Recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of `run` as typed; None = not given. Names are those of the parser's parameters."""

    words: tuple[str, ...] = ()
    module: str | None = None
    code: str | None = None
    mode: tuple[str, ...] = ()
    backend: tuple[str, ...] = ()
    clock: str | None = None
    rate: float | None = None
    native: bool = False
    children: bool | None = None
    python: Path | None = None
    runs: int | None = None
    against: str | None = None
    label: str | None = None
    open_: bool = False
    out: Path | None = None
    json: bool = False
    quiet: bool = False


def run_program(asked: Asked) -> int:
    """Record the program and say what was recorded; its exit status."""
    from proftool import settings as settings_file
    from proftool.launch import targets
    from proftool.store import open_store
    from proftool.workflows import record

    output.set_quiet(asked.quiet)
    settings = settings_file.load()
    wishes = record.Wishes(
        modes=asked.mode, backends=asked.backend, clock=asked.clock, rate_hz=asked.rate, native=asked.native, children=asked.children
    )
    if asked.against is not None:
        from proftool.cli import run_against

        return run_against.run(asked, asked.against, wishes, settings)
    request = record.Request(
        program=targets.resolve(asked.words, module=asked.module, code=asked.code, python=asked.python),
        wishes=wishes,
        runs=1 if asked.runs is None else asked.runs,
        label=asked.label,
        stdout=2 if asked.json else None,
    )
    if asked.out is not None:
        from proftool.workflows.report import check_output

        check_output(asked.out)
    store = open_store(settings)
    recorded = record.record(request, store, settings, say=output.talk)
    tell_recorded(recorded, store, settings, out=asked.out, open_=asked.open_, json=asked.json)
    return recorded.exit_status


def tell_recorded(recorded: Recorded, store: SqlRunStore, settings: Settings, *, out: Path | None, open_: bool, json: bool) -> None:
    """Say what was recorded: summaries and losses on stderr, the document on stdout, the report in its file and the browser."""
    import sys
    from dataclasses import replace

    from proftool import insights
    from proftool.contracts import ReportOptions
    from proftool.reports import summary
    from proftool.workflows import history, report

    shown = ReportOptions(width=output.width(), color=output.has_color(sys.stderr))
    for kept in recorded.kept:
        if not output.is_quiet():
            before = None if kept.run is None else history.comparable_before(kept.run, store)
            found = insights.find(kept.profile)
            output.talk(summary.text(kept.profile, replace(shown, insights=found), kept.run, before))
    for notice in store.take_notices():
        output.talk(notice)
    for loss in recorded.losses:
        output.complain(f"error: {loss.what}\ncause: {loss.cause}\nfix:   {loss.fix}")
    if not recorded.kept:
        return
    last = recorded.kept[-1]
    if json:
        output.document(report.show_document(last.profile, last.run))
    if out is not None:
        report.write(last.profile, out, settings, run=last.run)
        output.talk(f"written to {out}")
    if open_:
        from proftool.workflows import open as opening

        output.talk(opening.open_page(last.profile, last.run, settings, store))
