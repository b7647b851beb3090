"""`import`: files of other tools as runs; the files of a folder that measure the same are one run with lanes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proftool.contracts_store import Run
from proftool.errors import FormatError, ProftoolError, UnknownFormat, UsageError
from proftool.store.names import read_file
from proftool.store.runs import SqlRunStore, check_label

if TYPE_CHECKING:
    from proftool.model.profile import Profile

Told = Callable[[str], None]
"""Hears what is being done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A run that an import made, or why it could not."""

    path: Path
    """Of the file, or of the folder."""
    run: Run | None = None
    """None: it could not be read."""
    error: ProftoolError | None = None
    lost: tuple[str, ...] = ()
    """What the files' formats could not hold."""
    n_files: int = 1


def import_files(paths: Sequence[Path], store: SqlRunStore, *, label: str | None = None, told: Told = lambda _: None) -> Iterator[Imported]:
    """
    Store files of other tools, one run each; a folder is one run of all files in it that some format reads.

    Files of a folder that measure different things make a run for each set of metrics. A file that cannot be read is told and does
    not stop the others; in a folder, a file of no known format is passed over. An interruption leaves the runs that were yielded.

    Raises:
        UsageError: a path that does not exist, a label that cannot be one; before anything is stored.
        UnknownFormat: a folder without any profile.
    """
    if label is not None:
        check_label(label)
    for path in paths:
        if not path.exists():
            raise UsageError(
                f"no file `{path}`", cause="it does not exist", fix="name files, or folders of files, that other profilers wrote"
            )
    for path in paths:
        if path.is_dir():
            yield from _folder(path, store, label, told)
        else:
            yield _file(path, store, label, told)


def _file(path: Path, store: SqlRunStore, label: str | None, told: Told) -> Imported:
    told(f"reading {path.name}")
    try:
        profile = read_file(path)
    except FormatError as error:
        return Imported(path=path, error=error)
    told(f"storing {path.name}")
    return Imported(path=path, run=store.add(profile, label=label), lost=profile.meta.lost)


def _folder(folder: Path, store: SqlRunStore, label: str | None, told: Told) -> Iterator[Imported]:
    from proftool.model.merge import merge
    from proftool.workflows.merge import with_lane_names

    groups: dict[tuple[object, ...], list[Profile]] = {}
    files = sorted(_files(folder))
    broken = 0
    for at, file in enumerate(files, 1):
        told(f"reading {file.name}, {at} of {len(files)}")
        try:
            profile = read_file(file)
        except UnknownFormat:
            continue
        except FormatError as error:
            broken += 1
            yield Imported(path=file, error=error)
            continue
        groups.setdefault((profile.metrics, profile.is_edges), []).append(with_lane_names(profile, str(file.relative_to(folder))))
    if not groups and not broken:
        raise UnknownFormat(f"no profile in `{folder}`", cause="none of its files is of a known format", fix=_readable())
    for profiles in groups.values():
        told(f"merging {len(profiles)} files of {folder.name}")
        merged = merge(profiles)
        yield Imported(path=folder, run=store.add(merged, label=label), lost=merged.meta.lost, n_files=len(profiles))


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in files if not name.startswith("."))


def _readable() -> str:
    from proftool import registry

    return f"proftool reads {', '.join(registry.names('format'))}"
