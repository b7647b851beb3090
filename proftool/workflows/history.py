"""The verbs over run history as plain functions: list, label, rm, prune, export. Nothing is printed here."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from proftool.contracts import WritableFormat
from proftool.contracts_store import Run, RunQuery
from proftool.errors import AmbiguousRun, RunNotFound, UsageError
from proftool.store.names import resolve, resolve_side
from proftool.store.prune import Pruned, prune
from proftool.store.runs import SqlRunStore
from proftool.workflows.run_document import run_document

_LOOK_BACK = 50
"""So many of the newest runs are looked through for one to compare with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A run as a file of another format."""

    name: str
    """For messages: the run's id, or the file's path."""
    format: str
    content: bytes
    lost: tuple[str, ...]
    """What the format cannot hold, one sentence each."""


def list_runs(store: SqlRunStore, *, label: str | None = None, limit: int | None = None) -> Sequence[Run]:
    """Stored runs, newest first."""
    return store.find(RunQuery(label=label, limit=limit))


def comparable_before(run: Run, store: SqlRunStore) -> Run | None:
    """The newest run before this one that is like it: the same command, recorded in the same way; None where there is none."""
    runs = store.find(RunQuery(limit=_LOOK_BACK))
    return next((one for one in runs if one.added_ns < run.added_ns and _kind(one) == _kind(run)), None)


def _kind(run: Run) -> tuple[object, ...]:
    from proftool.model.preempted import PREEMPTED  # numpy, which the other verbs here do without

    # Another clock gives other metrics, and a diff refuses it. Whether the time in line for a processor is known depends on when
    # threads ended, and a diff goes without it.
    return run.command, run.modes, run.backends, frozenset(name for name in run.totals if not name.endswith(PREEMPTED))


def list_document(runs: Sequence[Run]) -> dict[str, object]:
    """The JSON document of `list`."""
    return {"schema": "proftool.list/1", "runs": [run_document(run) for run in runs]}


def stored(name: str, store: SqlRunStore, cwd: Path) -> Run:
    """The stored run of that name; UsageError where it names a file."""
    return _stored(name, resolve(name, store, cwd).run)


def label_run(name: str, label: str | None, store: SqlRunStore, cwd: Path) -> Run:
    """Give a run a label, or take it away."""
    return store.label(stored(name, store, cwd), label)


def remove_runs(names: Sequence[str], store: SqlRunStore, cwd: Path, *, every: bool = False) -> tuple[Run, ...]:
    """
    Remove runs, all or none of those that are named.

    Args:
        every: a name that several runs bear takes all of them; otherwise it is AmbiguousRun, since what is removed is gone.
    """
    chosen: dict[str, Run] = {}
    for name in names:
        found = [_stored(name, side.run) for side in resolve_side(name, store, cwd)]
        if len(found) > 1 and not every:
            shown = ", ".join(f"`{run.id}`" for run in found[:8])
            more = f" and {len(found) - 8} more" if len(found) > 8 else ""
            raise AmbiguousRun(f"`{name}` names {len(found)} runs", cause=f"these: {shown}{more}", fix="name one by its id, or add `--all`")
        chosen |= {run.id: run for run in found}
    store.remove(list(chosen.values()))
    return tuple(chosen.values())


def prune_runs(
    store: SqlRunStore,
    *,
    older_than_ns: int | None = None,
    keep: int | None = None,
    max_bytes: int | None = None,
    cap_bytes: int | None = None,
    dry_run: bool = False,
) -> Pruned:
    """Remove unlabelled runs by age, count and size; without a rule, down to the store's own cap."""
    if older_than_ns is None and keep is None and max_bytes is None:
        max_bytes = cap_bytes
    before_ns = None if older_than_ns is None else time.time_ns() - older_than_ns
    return prune(store, before_ns=before_ns, keep=keep, max_bytes=max_bytes, dry_run=dry_run)


def export_run(name: str, format: str, store: SqlRunStore, cwd: Path, *, max_html_bytes: int, editor: str | None = None) -> Exported:
    """
    A run, or a file, as the content of a file of another format.

    Raises:
        UsageError: a format that is not known or only read.
        ReportError: the profile has nothing that the format could hold.
    """
    from proftool import registry

    found = resolve(name, store, cwd)
    shown = found.run.id if found.run else str(found.path)
    if format == "html":
        from proftool import insights
        from proftool.contracts import ReportOptions

        whole = found.load(store)
        options = ReportOptions(max_bytes=max_html_bytes, editor=editor, insights=insights.find(whole))
        content = registry.report("html").render(whole, options)
        return Exported(name=shown, format=format, content=content, lost=())
    if format not in registry.names("format"):
        _unknown_format(format)
    writer = registry.format(format)
    if not isinstance(writer, WritableFormat):
        raise UsageError(
            f"proftool reads `{format}` and does not write it", cause="only its own tool writes it", fix=f"write one of: {_writable()}"
        )
    profile = found.load(store)
    return Exported(name=shown, format=format, content=writer.write(profile), lost=writer.lost(profile))


def format_of(path: Path) -> str | None:
    """The format that a file's ending asks for; None where no format or several have it."""
    from proftool import registry

    if path.suffix in (".html", ".htm"):
        return "html"
    named = [f.name for f in registry.formats() if isinstance(f, WritableFormat) and any(path.name.endswith(s) for s in f.suffixes)]
    return named[0] if len(named) == 1 else None


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; UsageError says why it cannot be."""
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)  # a pipe, /dev/stdout: nothing to rename onto
            return
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write `{path}`", cause=error.strerror or str(error), fix="name another file with `-o`") from error


def _stored(name: str, run: Run | None) -> Run:
    if run is None:
        raise RunNotFound(
            f"`{name}` is a file", cause="only stored runs can be labelled or removed", fix=f"`proftool import {name}` stores it"
        )
    return run


def _unknown_format(name: str) -> None:
    import difflib

    known = _writable()
    near = difflib.get_close_matches(name, known.split(", "), 1)
    hint = f"did you mean `{near[0]}`? " if near else ""
    raise UsageError(f"no format named `{name}`", cause="proftool does not write it", fix=f"{hint}known are: {known}")


def _writable() -> str:
    from proftool import registry

    return ", ".join([*(f.name for f in registry.formats() if isinstance(f, WritableFormat)), "html"])
