"""`proftool gate --budgets`: measure what the project's budgets name."""

from __future__ import annotations

from collections.abc import Sequence


def hold_budgets(names: Sequence[str], *, json: bool) -> int:
    """0 all are kept, 1 one is broken, 10 one is undecided."""
    from proftool.bench.budgets import exit_status
    from proftool.cli import output as streams
    from proftool.workflows import budgets
    from proftool.workflows.bench import interpreter

    found = budgets.check(names, python=interpreter(None), say=streams.progress)
    if json:
        streams.document(budgets.document(found))
    else:
        streams.data("\n".join(one.told() for one in found))
    return exit_status(found)
