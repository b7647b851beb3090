"""The RunStore: rows in the database, profiles in blobs, and the order of writing that keeps both in step.

Add: blob (temporary file, sync, rename), then row, then the announcement. A kill between them leaves a blob without a row,
which no list shows and `prune` sweeps. Remove: rows, then blobs. Blobs are only ever removed inside a write transaction that saw no
row for them, and `add` looks again for its blob inside its own: so no sweep can take a blob from under a new row.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from proftool.contracts_store import Run, RunQuery, Trend, TrendQuery
from proftool.errors import ProftoolError, RunNotFound, UsageError
from proftool.store.blobs import blobs_of
from proftool.store.place import Place
from proftool.store.recordings import Recordings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from proftool.model.profile import Profile
    from proftool.store.database import Answer, Asking, RunTable

T = TypeVar("T")

ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no letter that is taken for another."""
ID_LENGTH = 10
"""50 bits: among 100,000 runs two ids meet once in 225,000 stores, and a meeting is drawn again."""
LABEL_MAX = 200
_ALL = 1 << 62
"""Rows, where no limit is asked for: SQLite has no word for it that PostgreSQL knows too."""
SWEEP_GRACE_NS = 3600 * 1_000_000_000
"""A blob without a row is left alone this long."""


class SqlRunStore:
    """Run history in a place; cheap to make, opened at the first question."""

    def __init__(self, place: Place, *, size_cap_bytes: int | None = None, redact: tuple[str, ...] = ()) -> None:
        self.place = place
        self.blobs = blobs_of(place)
        self.recordings = Recordings(place)
        self._size_cap_bytes = size_cap_bytes
        self._redact = redact
        self._opened: RunTable | None = None
        self._notices: list[str] = [place.notice] if place.notice else []

    @property
    def database(self) -> RunTable:
        """Connections to the run table."""
        if self._opened is None:
            if self.place.server is not None:
                from proftool.store.postgres import Postgres

                self._opened = Postgres(self.place)
            else:
                from proftool.store.database import Database

                self._opened = Database(self.place)
        return self._opened

    def reopen(self) -> None:
        """Forget the database that was open; another file may lie there now."""
        self._opened = None

    def take_notices(self) -> tuple[str, ...]:
        """What the user should be told once: why the store is elsewhere, which runs were pruned."""
        told, self._notices = tuple(self._notices), []
        return told

    def recordings_folder(self) -> Path:
        """A private folder for raw parts, held by this process until `discard_recording`; repair finds what a kill leaves."""
        return self.recordings.open()

    def discard_recording(self, folder: Path) -> None:
        """Remove a folder that `recordings_folder` gave."""
        self.recordings.close(folder)

    def add(self, profile: Profile, *, label: str | None = None, id: str | None = None) -> Run:
        """Store a profile, secrets redacted; the run that can be announced. The size cap may take older unlabelled runs."""
        return self.add_redacted(self.redacted(profile), label=label, id=id)

    def redacted(self, profile: Profile) -> Profile:
        """The profile without its secrets: what may be shown and written."""
        from proftool.store.redact import redact_profile

        return redact_profile(profile, self._redact)

    def redacted_command(self, argv: Sequence[str]) -> tuple[str, ...]:
        """A command line without its secrets."""
        from proftool.store.redact import redact_argv

        return redact_argv(argv, self._redact)

    def add_redacted(self, profile: Profile, *, label: str | None = None, id: str | None = None) -> Run:
        """`add` for what `redacted` gave."""
        from proftool.formats import native

        if label is not None:
            check_label(label)
        run = self.insert(profile, native.dumps(profile), label, id=id)
        if self._size_cap_bytes is not None:
            self._keep_size(run, self._size_cap_bytes)
        return run

    def adopt(self, run: Run, data: bytes) -> Run | None:
        """A run of another store with its content, under the same id unless another run has it; None where it is here already."""
        from proftool.formats import native

        if any(known.blob == run.blob for known in self.find(RunQuery(ids=(run.id,)))):
            return None
        return self.insert(native.loads(data), data, run.label, id=run.id)

    def insert(self, profile: Profile, data: bytes, label: str | None, *, id: str | None = None) -> Run:
        """Blob, then row, of a profile that is redacted; `data` is its content, `id` the one that it gets if it is free."""
        from proftool.store import trends
        from proftool.store.rows import row_of, run_of

        self.place.make()
        blob = self.blobs.put(data)
        try:
            with self.database.plain(write=True) as connection:
                assert connection is not None
                if not self.blobs.has(blob):
                    self.blobs.put(data)
                newest = _number(connection.execute("SELECT max(added_ns) FROM runs"))
                row = row_of(
                    profile,
                    id=_new_id(connection, id),
                    label=label,
                    blob=blob,
                    size_bytes=len(data),
                    # A clock that was set back does not reorder `@latest`.
                    added_ns=max(time.time_ns(), newest + 1),
                )
                connection.execute(f"INSERT INTO runs ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})", row)
                trends.index(connection, profile, int(cast(int, row["added_ns"])))
        except BaseException as error:
            self._forget(blob, error)
            raise
        return run_of(row)

    def _forget(self, blob: str, reason: BaseException) -> None:
        """Take back the blob of a row that could not be written; where even that fails, prune sweeps it later."""
        try:
            with self.database.writing() as connection:
                self._sweep(connection, [blob])
        except ProftoolError as error:
            reason.add_note(f"its profile stays in `{self.place.shown_blobs}` until the next `proftool prune`: {error.what}")

    def find(self, query: RunQuery) -> Sequence[Run]:
        """Newest first."""
        from proftool.store.rows import run_of

        with self.database.plain() as connection:
            if connection is None:
                return ()
            found = connection.execute(*_question(query))
            names = [str(column[0]) for column in found.description or ()]
            return tuple(run_of(dict(zip(names, row, strict=True))) for row in found)

    def load(self, run: Run) -> Profile:
        """The run's profile; StoreError where its blob is gone, CorruptProfile where it is damaged."""
        from proftool.formats import native

        return native.loads(self.blobs.get(run.blob), self.blobs.path(run.blob))

    def trends(self, query: TrendQuery) -> Sequence[Trend]:
        """Every function of that name that runs have among their largest, the one with most points first."""
        from proftool.store import trends

        with self.database.plain() as connection:
            if connection is None:
                return ()
            found = [trends.trend(connection, function, query) for function in trends.functions_named(connection, query.function)]
        return sorted((one for one in found if one is not None), key=lambda one: -len(one.points))

    def label(self, run: Run, label: str | None) -> Run:
        """Give the run a label, or take it away; RunNotFound where the run went meanwhile."""
        from sqlalchemy import update

        from proftool.store.schema import runs

        if label is not None:
            check_label(label)
        with self.database.writing() as connection:
            if not connection.execute(update(runs).where(runs.c.id == run.id).values(label=label)).rowcount:
                raise RunNotFound(f"no run `{run.id}`", cause="it was removed meanwhile", fix="`proftool list` shows the runs there are")
        return replace(run, label=label)

    def remove(self, runs: Sequence[Run]) -> None:
        """Remove runs, labelled or not, and the blobs that no other run shares."""
        self._remove(runs, keep_labelled=False)

    def remove_unlabelled(self, runs: Sequence[Run]) -> tuple[Run, ...]:
        """Remove those that bear no label by the time they are removed; which went."""
        return self._remove(runs, keep_labelled=True)

    def _remove(self, gone: Sequence[Run], *, keep_labelled: bool) -> tuple[Run, ...]:
        from sqlalchemy import delete

        from proftool.store.schema import function_values, runs

        went: list[Run] = []
        with self.database.reading() as connection:
            if connection is None:
                return ()
        for some in _chunks(gone):
            with self.database.writing() as connection:
                which = delete(runs).where(runs.c.id.in_([run.id for run in some])).returning(runs.c.id, runs.c.added_ns)
                if keep_labelled:
                    which = which.where(runs.c.label.is_(None))
                rows = list(connection.execute(which))
                removed = {row.id for row in rows}
                connection.execute(delete(function_values).where(function_values.c.added_ns.in_([row.added_ns for row in rows])))
            went += [run for run in some if run.id in removed]
            with self.database.writing() as connection:
                self._sweep(connection, [run.blob for run in some])
        return tuple(went)

    def size_bytes(self) -> int:
        """Bytes of all profiles."""
        with self.database.plain() as connection:
            return 0 if connection is None else _number(connection.execute("SELECT sum(size_bytes) FROM runs"))

    def sweep(self, grace_ns: int = SWEEP_GRACE_NS) -> int:
        """Remove blobs that no run has and that nobody touched for the grace time; how many."""
        if not self.database.exists():
            return 0
        old = [info.name for info in self.blobs.infos() if info.touched_ns < time.time_ns() - grace_ns]
        swept = 0
        for some in _chunks(old):
            with self.database.writing() as connection:
                swept += self._sweep(connection, some)
        with self.database.plain(write=True) as connection:
            assert connection is not None
            connection.execute(
                "DELETE FROM functions WHERE NOT EXISTS (SELECT 1 FROM function_values AS v WHERE v.function_id = functions.id)"
            )
        return swept + self.blobs.sweep_temporary(grace_ns)

    def _sweep(self, connection: Connection, blobs: Sequence[str]) -> int:
        """Remove those that no row has; only inside a write transaction."""
        from sqlalchemy import select

        from proftool.store.schema import runs

        wanted = set(connection.execute(select(runs.c.blob).where(runs.c.blob.in_(blobs))).scalars())
        unwanted = [name for name in dict.fromkeys(blobs) if name not in wanted]
        self.blobs.remove(unwanted)
        return len(unwanted)

    def _keep_size(self, newest: Run, cap_bytes: int) -> None:
        """Beyond the cap, remove the oldest unlabelled runs down to a tenth below it, so that not every add has to."""
        from proftool.units import Unit, people

        excess = self.size_bytes() - cap_bytes
        if excess <= 0:
            return
        excess += cap_bytes // 10
        gone: list[Run] = []
        for run in self._oldest_unlabelled(newest):
            if excess <= 0:
                break
            gone.append(run)
            excess -= run.size_bytes
        went = self.remove_unlabelled(gone)
        cap = people(cap_bytes, Unit.BYTES)
        if went:
            self._notices.append(
                f"pruned {len(went)} old {'run' if len(went) == 1 else 'runs'} to stay within {cap}; label a run to keep it"
            )
        if excess > cap_bytes // 10:
            self._notices.append(f"labelled runs alone take more than {cap}; `proftool rm` removes them, `store-size` sets the cap")

    def _oldest_unlabelled(self, newest: Run) -> Iterator[Run]:
        from sqlalchemy import select

        from proftool.store.rows import run_of
        from proftool.store.schema import runs

        chosen = select(runs).where(runs.c.label.is_(None), runs.c.id != newest.id).order_by(runs.c.added_ns)
        with self.database.reading() as connection:
            if connection is not None:
                yield from (run_of(dict(row)) for row in connection.execute(chosen).mappings())


def check_label(label: str) -> None:
    """UsageError for a label that names something else or cannot be shown; one like an option is reached by its run's id."""
    problem = None
    if not label.strip() or label != label.strip():
        problem = "it is empty, or begins or ends with a space"
    elif label[0] == "@":
        problem = "`@` at its beginning means something else on the command line"
    elif not label.isprintable():
        problem = "it has characters that cannot be shown"
    elif len(label) > LABEL_MAX:
        problem = f"it is longer than {LABEL_MAX} characters"
    if problem:
        raise UsageError(f"`{label[:40]}` cannot be a label", cause=problem, fix="write a short text, for example `--label before`")


def _number(answer: Answer) -> int:
    """The one number of an answer; 0 for null."""
    row = answer.fetchone()
    return int(str(row[0])) if row is not None and row[0] is not None else 0


def draw_id() -> str:
    """An id for a run that is yet to be; it gets it where nobody took it meanwhile."""
    # Random, not ordered by time: the first two or three characters then tell runs apart, where a time would repeat.
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))


def _new_id(connection: Asking, wanted: str | None = None) -> str:
    if wanted is not None and connection.execute("SELECT id FROM runs WHERE id = ?", (wanted,)).fetchone() is None:
        return wanted
    while True:
        id = draw_id()
        if connection.execute("SELECT id FROM runs WHERE id = ?", (id,)).fetchone() is None:
            return id


def _question(query: RunQuery) -> tuple[str, list[str | int]]:
    """The question as SQL, and its values."""
    where: list[str] = []
    values: list[str | int] = []

    def only(condition: str, *wanted: str | int) -> None:
        where.append(condition)
        values.extend(wanted)

    if query.ids is not None:
        only(f"id IN ({', '.join('?' * len(query.ids))})" if query.ids else "1 = 0", *query.ids)
    if query.id_prefix is not None:
        only("id >= ? AND id < ?", query.id_prefix, query.id_prefix + "\U0010ffff")
    if query.label is not None:
        only("label = ?", query.label)
    if query.commit_prefix is not None:
        only("git_commit >= ? AND git_commit < ?", query.commit_prefix, query.commit_prefix + "\U0010ffff")
    if query.before_ns is not None:
        only("added_ns < ?", query.before_ns)
    text = "SELECT * FROM runs" + (f" WHERE {' AND '.join(where)}" if where else "") + " ORDER BY added_ns DESC"
    if query.limit is not None or query.offset:
        text += " LIMIT ? OFFSET ?"
        values += [_ALL if query.limit is None else query.limit, query.offset]
    return text, values


def _chunks(items: Sequence[T], size: int = 500) -> Iterator[Sequence[T]]:
    # Short transactions: a prune of 10,000 runs lets other writers in between.
    for start in range(0, len(items), size):
        yield items[start : start + size]
