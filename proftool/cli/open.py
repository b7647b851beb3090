"""`proftool open`: a run in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proftool.cli import options, output


def open_(
    run: Annotated[str, typer.Argument(metavar="RUN", help=options.RUN_HELP + " Or an ab-… of a comparison, an incident-….")] = "@latest",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Write the file and say where it is.")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to write it.")] = None,
    viewer: Annotated[str, typer.Option("--viewer", metavar="NAME", help="proftool (default), snakeviz or speedscope.")] = "proftool",
    metric: options.Metric = None,
) -> None:
    """Open a run as a flame graph in the browser: one offline file, or served on this machine where a file cannot hold all."""
    from proftool import settings as settings_file
    from proftool.errors import UsageError
    from proftool.reports import table
    from proftool.store import open_store
    from proftool.workflows import open as opening
    from proftool.workflows import show as showing

    known = ("proftool", "snakeviz", "speedscope")
    if viewer not in known:
        raise UsageError(f"no viewer `{viewer}`", cause="`--viewer` names what shows the run", fix=f"known are: {', '.join(known)}")
    settings = settings_file.load()
    store = open_store(settings)
    if (page := store.place.folder / "reports" / f"{run}.html") and run.startswith("ab-") and page.is_file():
        path = out or page
        if out is not None:
            out.write_bytes(page.read_bytes())
        output.talk(opening.browse(path) if not no_browser else f"written to {path}")
        return
    if run.startswith("incident-"):
        from proftool.workflows import incidents
        from proftool.workflows.history import write_file

        opened = incidents.load_incident(run, settings)
        path = out or incidents.page_path(opened.incident, settings)
        write_file(path, incidents.page(opened, settings))
        output.talk(opening.browse(path) if not no_browser else f"written to {path}")
        return
    shown = showing.load(run, store, Path.cwd())
    if metric is not None:
        table.metric_of(shown.profile, metric)
    if viewer == "proftool":
        path = out or opening.report_path(store, shown.run, "html")
        whole = opening.page(shown.profile, settings, path, metric)
        if not whole and out is None and not no_browser and opening.has_browser():
            opening.serve(shown.profile, settings, metric, output.talk)
        else:
            output.talk(opening.browse(path) if not no_browser else f"written to {path}")
            if not whole:
                output.talk("its smallest parts are folded; `proftool open` in a desktop session serves all of it")
        return
    path = out or opening.report_path(store, shown.run, "speedscope.json" if viewer == "speedscope" else "prof")
    for sentence in opening.export_for(shown.profile, "speedscope" if viewer == "speedscope" else "pstats", path):
        output.talk(f"lost: {sentence}")
    if viewer == "speedscope":
        output.talk(f"written to {path}; load it in speedscope: `npx speedscope {path}`, or drop it on its page")
        return
    if not shown.profile.is_edges:
        output.talk("the call graph is reconstructed: snakeviz shows caller-callee pairs, and this run holds call stacks")
    if out is not None and no_browser:
        output.talk(f"written to {path}; `snakeviz {path}` shows it")
        return
    if status := opening.snakeviz(path, browser=not no_browser):
        raise typer.Exit(status)
