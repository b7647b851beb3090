"""The one door to ClickHouse: questions, commands and inserts by column, over HTTP to a server or in this process (`chdb://`).

    clickhouse://user:password@host:8123/database?async_insert=1     `clickhouses://` for TLS; the query string is settings of the engine
    chdb:///folder                                                   the same engine in this process: one machine, one process, for trials

Both are clickhouse-connect's own backends, so one code serves both. Failures are StoreErrors, and no password stands in them.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from proftool.errors import StoreError, UsageError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

DATABASE = "proftool"
"""Where the URL names none."""
_SCHEMES = ("clickhouse", "clickhouses", "chdb")
TIMEOUT_S = 60
Parameter = str | int | list[str] | list[int]


def is_engine(url: str) -> bool:
    """Is that the URL of a fleet's engine?"""
    return url.partition("://")[0] in _SCHEMES


class Engine:
    """A ClickHouse database; connected at the first question."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in _SCHEMES or port == -1 or (parts.scheme != "chdb" and not parts.hostname):
            raise UsageError(
                f"`{self._without_password(url)}` is no fleet",
                cause="it names no ClickHouse server",
                fix="write `clickhouse://host:8123/database`",
            )
        self._parts, self._port = parts, port
        self.database = (unquote(parts.path.strip("/")) if parts.scheme != "chdb" else "") or DATABASE
        self.shown = self._without_password(url)

    @staticmethod
    def _without_password(url: str) -> str:
        before, at, after = url.partition("?")[0].rpartition("@")
        return f"{before.partition('://')[0]}://{after}" if at else after

    @cached_property
    def _client(self) -> Client:
        try:
            from clickhouse_connect.driver import create_client  # pyright: ignore[reportUnknownVariableType]
        except ImportError as error:
            raise StoreError(
                "the fleet cannot be reached",
                cause="the package `clickhouse-connect` is not installed",
                fix="`pip install 'proftool[fleet]'`",
            ) from error
        parts = self._parts
        asked = dict(parse_qsl(parts.query))
        if parts.scheme == "chdb":
            try:
                client = create_client(interface="chdb", path=unquote(parts.path) or None, settings=asked)
            except ImportError as error:
                raise StoreError(
                    "ClickHouse cannot run in this process", cause="the package `chdb` is not installed", fix="`pip install chdb`"
                ) from error
        else:
            client = create_client(
                host=parts.hostname,
                port=self._port or 0,
                username=unquote(parts.username) if parts.username else None,
                password=unquote(parts.password or ""),
                secure=parts.scheme == "clickhouses",
                send_receive_timeout=TIMEOUT_S,
                # Questions of several threads go at once; nothing here needs a session.
                autogenerate_session_id=False,
                settings=asked,
            )
        return client

    def ask(self, question: str, n_columns: int, parameters: Mapping[str, Parameter] | None = None) -> list[Sequence[object]]:
        """The answer's columns, empty ones where it has no rows; `{name:Type}` in the question stands for a parameter."""
        with self._explained():
            answer = self._client.query(question, parameters=dict(parameters or {}), column_oriented=True)  # pyright: ignore[reportUnknownMemberType]
            found: list[Sequence[object]] = list(answer.result_columns)
        return found or [[] for _ in range(n_columns)]

    def do(self, command: str) -> None:
        """A command that answers nothing."""
        with self._explained():
            self._client.command(command)  # pyright: ignore[reportUnknownMemberType]

    def insert(self, table: str, columns: Mapping[str, Sequence[object]], types: Mapping[str, str], *, token: str) -> None:
        """
        Insert rows, all or none.

        Args:
            table: without the database.
            columns: name -> values, of equal length.
            token: the same for the same rows, which then count once however often they are sent.
        """
        if not len(next(iter(columns.values()))):
            return
        settings = {"insert_deduplication_token": token, "deduplicate_blocks_in_dependent_materialized_views": 1}
        with self._explained():
            self._client.insert(
                f"`{self.database}`.`{table}`",
                list(columns.values()),
                column_names=list(columns),
                column_type_names=[types[name] for name in columns],
                column_oriented=True,
                settings=settings,
            )

    def close(self) -> None:
        """Let go of the connection."""
        if "_client" in self.__dict__:
            self._client.close()
            del self.__dict__["_client"]

    @contextmanager
    def _explained(self) -> Generator[None, None, None]:
        try:
            yield
        except (StoreError, UsageError):
            raise
        except Exception as error:
            # clickhouse-connect's own, and what urllib3 lets through; neither is imported before the first question.
            if type(error).__module__.partition(".")[0] not in ("clickhouse_connect", "urllib3", "chdb"):
                raise
            raise explain(error, self.shown) from error


def explain(error: Exception, shown: str) -> StoreError:
    """What a failure of the engine means for the user."""
    from clickhouse_connect.driver.exceptions import OperationalError

    cause = " ".join(str(error).split())[:300]
    if isinstance(error, OperationalError) or type(error).__module__.startswith("urllib3"):
        return StoreError(
            f"the fleet `{shown}` cannot be reached", cause=cause, fix="check that the server runs and that PROFTOOL_FLEET names it"
        )
    if "AUTHENTICATION_FAILED" in cause or "ACCESS_DENIED" in cause or "NOT_ENOUGH_PRIVILEGES" in cause:
        return StoreError(
            f"the fleet `{shown}` refuses this user", cause=cause, fix="check user and password in PROFTOOL_FLEET, and its grants"
        )
    if "UNKNOWN_TABLE" in cause or "UNKNOWN_DATABASE" in cause:
        return StoreError(
            f"the fleet `{shown}` has no tables yet", cause=cause, fix="`proftool fleet setup`, as a user who may create them"
        )
    return StoreError(f"the fleet `{shown}` failed", cause=cause, fix="repeat it with `--debug` and report what that prints")
