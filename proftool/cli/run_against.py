"""`proftool run --against BASE`: both sides in turn, then their diff."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from proftool.cli import output

if TYPE_CHECKING:
    from proftool.settings import Settings
    from proftool.workflows.record import Wishes


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The two sides as typed; without words, module and code the base's own command is run."""

    against: str
    words: tuple[str, ...]
    module: str | None
    code: str | None
    python: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How the diff is shown."""

    open: bool
    out: Path | None
    json: bool


def run(asked: Asked, wishes: Wishes, settings: Settings, *, runs: int | None, label: str | None, stdout: int | None, shown: Shown) -> int:
    """Record and compare; the status is the program's own."""
    from proftool.contracts import ReportOptions
    from proftool.launch import targets
    from proftool.reports.diff import render_text
    from proftool.store import open_store
    from proftool.workflows import against, record

    if shown.out is not None:
        from proftool.cli.diff import check_output

        check_output(shown.out)
    store = open_store(settings)
    base = against.find_base(asked.against, store, Path.cwd(), output.talk)
    if not asked.words and asked.module is None and asked.code is None and base.command is not None:
        program = against.program_of(base.command, asked.python)
    else:
        program = targets.resolve(asked.words, module=asked.module, code=asked.code, python=asked.python)
    if base.run is not None and not wishes.modes and not wishes.backends:
        wishes = replace(wishes, modes=base.run.modes, backends=base.run.backends)
    request = record.Request(program=program, wishes=wishes, runs=against.RUNS if runs is None else runs, label=label, stdout=stdout)
    answer = against.record_in_turn(request, base, store, settings, python=asked.python, say=output.talk)
    for notice in store.take_notices():
        output.talk(notice)
    for loss in answer.losses:
        output.complain(f"error: {loss.what}\ncause: {loss.cause}\nfix:   {loss.fix}")
    if answer.compared is None:
        return answer.exit_status
    if shown.json or shown.out is not None or shown.open:
        from proftool.cli import diff

        diff.show(answer.compared, out=shown.out, open_=shown.open, json=shown.json)
    output.talk(render_text(answer.compared.diff, ReportOptions(width=output.width(), color=output.has_color(sys.stderr))).rstrip("\n"))
    output.talk(f"compared again by `proftool diff {answer.base_label} {answer.new_label}`")
    return answer.exit_status
