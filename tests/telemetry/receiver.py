"""A server that takes profiles as a company's does, and what it got, decoded by protobuf's own classes of the published schemas."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from formats.official import PprofProfile
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PUSH = {
    "LabelPair": "1 name text, 2 value text",
    "RawSample": "1 raw_profile bytes, 2 ID text",
    "RawProfileSeries": "1 labels LabelPair*, 2 samples RawSample*",
    "PushRequest": "1 series RawProfileSeries*",
}
"""grafana/pyroscope, api/push/v1/push.proto and api/types/v1/types.proto."""


def _push_request() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="push_for_tests.proto", package="push.v1", syntax="proto3")
    for name, fields in PUSH.items():
        message = file.message_type.add(name=name)
        for number, called, kind in (one.split() for one in fields.split(", ")):
            one = message.field.add(number=int(number), name=called, label=3 if kind.endswith("*") else 1)
            kind = kind.removesuffix("*")
            one.type = {"text": 9, "bytes": 12}.get(kind, 11)
            if kind not in ("text", "bytes"):
                one.type_name = f".push.v1.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("push.v1.PushRequest"))


PushRequest = _push_request()


@dataclass(frozen=True, slots=True)
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    content: bytes
    """Decompressed."""


@dataclass(slots=True)
class Receiver:
    """Where it listens, and what came."""

    port: int
    got: list[Got] = field(default_factory=list[Got])
    status: int = 200
    arrived: threading.Event = field(default_factory=threading.Event)

    def pushed(self) -> list[tuple[dict[str, str], Any]]:
        """(labels, pprof profile) of every series that was pushed."""
        found: list[tuple[dict[str, str], Any]] = []
        for one in self.got:
            request = PushRequest()
            request.ParseFromString(one.content)
            for series in request.series:
                labels = {label.name: label.value for label in series.labels}
                for sample in series.samples:
                    profile, raw = PprofProfile(), sample.raw_profile
                    profile.ParseFromString(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
                    found.append((labels, profile))
        return found


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A server that takes every POST."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.got.append(Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            receiver.arrived.set()
            self.send_response(receiver.status, "so it is")
            told = b"the tenant is full" if receiver.status >= 400 else b""
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    receiver = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
