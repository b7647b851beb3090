"""Profiles as objects of an S3 bucket, named as in a folder by the SHA-256 of their content: `prefix/ab/abcd….proftool`.

A put is whole or not there, so there are no temporary files. Address and credentials are those that every tool for S3 reads: the
environment (`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`), or the machine's own role.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from proftool.errors import CorruptProfile, StoreError
from proftool.store.blobs import SUFFIX, BlobInfo

if TYPE_CHECKING:
    from obstore.store import S3Store

_RETRY_S = 10
_AT_ONCE = 1000


class BucketBlobs:
    """Blobs in a bucket; reached at the first question."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/")

    @cached_property
    def _store(self) -> S3Store:
        try:
            from obstore.store import S3Store
        except ImportError as error:
            raise StoreError(
                "profiles cannot be kept in a bucket here",
                cause="the package `obstore` is not installed",
                fix="`pip install 'proftool[team]'`",
            ) from error
        from datetime import timedelta

        endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
        return S3Store(
            self._bucket,
            prefix=self._prefix or None,
            client_options={"allow_http": endpoint.startswith("http://")},
            retry_config={
                "max_retries": 8,
                "retry_timeout": timedelta(seconds=_RETRY_S),
                "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
            },
        )

    def path(self, name: str) -> Path:
        """For messages."""
        return Path(f"{self.url}/{_key(name)}")

    def put(self, data: bytes) -> str:
        """Written also where it is there already: an object's age is when it was last wanted."""
        import obstore

        name = hashlib.sha256(data).hexdigest()
        with self._explained():
            obstore.put(self._store, _key(name), data)
        return name

    def get(self, name: str) -> bytes:
        import obstore

        with self._explained():
            try:
                data = bytes(obstore.get(self._store, _key(name)).bytes())
            except FileNotFoundError as error:
                raise StoreError(
                    "the recording of this run is gone",
                    cause=f"`{self.url}/{_key(name)}` does not exist",
                    fix="`proftool doctor --repair` takes the run off the list",
                ) from error
        if hashlib.sha256(data).hexdigest() != name:
            raise CorruptProfile(
                "the recording of this run is damaged",
                cause=f"`{self.url}/{_key(name)}` is not what was written",
                fix="`proftool doctor --repair` puts it aside",
            )
        return data

    def has(self, name: str) -> bool:
        import obstore

        with self._explained():
            try:
                obstore.head(self._store, _key(name))
            except FileNotFoundError:
                return False
        return True

    def remove(self, names: Sequence[str]) -> None:
        import obstore

        with self._explained():
            # One request for a thousand; S3 does not mind that an object is not there.
            for first in range(0, len(names), _AT_ONCE):
                obstore.delete(self._store, [_key(name) for name in names[first : first + _AT_ONCE]])

    def infos(self) -> Iterator[BlobInfo]:
        import obstore

        with self._explained():
            pages = [list(page) for page in obstore.list(self._store)]  # pyright: ignore[reportUnknownMemberType]  # pyarrow's part
        for found in (found for page in pages for found in page):
            name = found["path"].rpartition("/")[2]
            if name.endswith(SUFFIX):
                touched = round(found["last_modified"].timestamp() * 1e9)
                yield BlobInfo(name=name.removesuffix(SUFFIX), size_bytes=found["size"], touched_ns=touched)

    def sweep_temporary(self, grace_ns: int) -> int:
        """There are none."""
        return 0

    @contextmanager
    def _explained(self) -> Generator[None, None, None]:
        try:
            yield
        except (StoreError, FileNotFoundError):
            raise
        except Exception as error:
            from obstore.exceptions import BaseError

            if not isinstance(error, BaseError):
                raise
            cause = " ".join(str(error).split())[:300]
            raise StoreError(
                f"the bucket `{self.url}` does not answer as it should",
                cause=cause,
                fix="check that it exists, and AWS_ENDPOINT_URL, AWS_REGION and the credentials in the environment",
            ) from error


def _key(name: str) -> str:
    return f"{name[:2]}/{name}{SUFFIX}"
