"""`proftool doctor`: what works here, and what would help where something does not."""

from __future__ import annotations

from typing import Annotated

import typer

from proftool.cli import options, output


def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Mend the store: damaged profiles aside, leftovers swept.")] = False,
    json: options.Json = False,
) -> None:
    """Say which backends work here, where runs are kept and what is set."""
    import sys

    from proftool import settings as settings_file
    from proftool.errors import ProftoolError
    from proftool.reports.text import styled
    from proftool.store import open_store
    from proftool.workflows import doctor as doctoring

    settings = settings_file.load()
    try:
        store = open_store(settings)
    except ProftoolError as error:
        if repair:
            raise
        store = error
    mended = doctoring.mend(store) if repair and not isinstance(store, ProftoolError) else []
    checks = doctoring.examine(settings, store)
    if json:
        output.document(doctoring.document(checks, mended))
        return
    color = output.has_color(sys.stdout)
    for finding in mended:
        output.data(f"repaired: {finding.what}; {finding.how}")
    group = ""
    for check in checks:
        if check.group != group:
            group = check.group
            output.data(styled(group, "bold", color))
        mark = {"ok": styled("ok", "green", color), "missing": styled("--", "red", color), "info": "  "}[check.state]
        output.data(f"  {mark} {check.name:<14} {check.detail}")
        if check.fix:
            output.data(f"     {'':<14} fix: {check.fix}")
