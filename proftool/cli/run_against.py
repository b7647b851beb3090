"""`proftool run --against BASE`: both sides in turn, then their diff."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from proftool.cli import output

if TYPE_CHECKING:
    from proftool.cli.recording import Asked
    from proftool.settings import Settings
    from proftool.workflows.record import Wishes


def run(asked: Asked, base_name: str, wishes: Wishes, settings: Settings) -> int:
    """Record and compare; the status is the program's own. Without words, module and code the base's own command is run."""
    from proftool.contracts import ReportOptions
    from proftool.launch import targets
    from proftool.launch.ending import ending
    from proftool.reports.diff import render_text
    from proftool.store import open_store
    from proftool.workflows import against, record

    if asked.out is not None:
        from proftool.cli.diff import check_output

        check_output(asked.out)
    store = open_store(settings)
    base = against.find_base(base_name, store, Path.cwd(), output.talk)
    if not asked.words and asked.module is None and asked.code is None and base.command is not None:
        program = against.program_of(base.command, asked.python)
    else:
        program = targets.resolve(asked.words, module=asked.module, code=asked.code, python=asked.python)
    if base.run is not None and not wishes.modes and not wishes.backends:
        wishes = replace(wishes, modes=base.run.modes, backends=base.run.backends)
    runs = against.RUNS if asked.runs is None else asked.runs
    request = record.Request(program=program, wishes=wishes, runs=runs, label=asked.label, stdout=2 if asked.json else None)
    # While the program runs a signal is the program's; between two runs it must not leave the worktree behind.
    with ending():
        answer = against.record_in_turn(request, base, store, settings, python=asked.python, say=output.talk)
    for notice in store.take_notices():
        output.talk(notice)
    for loss in answer.losses:
        output.complain(f"error: {loss.what}\ncause: {loss.cause}\nfix:   {loss.fix}")
    if answer.compared is None:
        return answer.exit_status
    if asked.json or asked.out is not None or asked.open_:
        from proftool.cli import diff

        diff.show(answer.compared, settings, out=asked.out, open_=asked.open_, json=asked.json)
    output.talk(render_text(answer.compared.diff, ReportOptions(width=output.width(), color=output.has_color(sys.stderr))).rstrip("\n"))
    output.talk(f"compared again by `proftool diff {answer.base_label} {answer.new_label}`")
    return answer.exit_status
