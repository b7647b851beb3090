"""OTLP over HTTP: `POST /v1/traces`, `/v1/metrics`, `/v1/logs`, `/v1development/profiles`, protobuf and JSON, gzip and deflate.

A body is read while there is room for it and unpacked within a bound, then waits for the writer (workflows/receive.py), whose commit is
the answer. Too large is 413, of another type 415, broken 400, no room or a busy store 503 with `Retry-After`: the statuses that
OpenTelemetry's exporters know, which repeat a request after 503 and no other of these.

Source: the OTLP specification, "OTLP/HTTP"; google.rpc.Status for the bodies of errors.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable, Coroutine
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from proftool.formats.wire import put_bytes, put_number
from proftool.workflows.receive import MAX_BODY_BYTES, RETRY_S, Outcome, Overloaded, Receiver

PATHS: Final = {
    "/v1/traces": ("traces", "rejectedSpans"),
    "/v1/metrics": ("metrics", "rejectedDataPoints"),
    "/v1/logs": ("logs", "rejectedLogRecords"),
    "/v1development/profiles": ("profiles", "rejectedProfiles"),
}
"""Path -> signal, and what its answer calls that which was refused."""

READ_S: Final = 30.0
"""A body that takes longer to come is given up."""
_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_WINDOWS = {"gzip": 31, "deflate": 15}
# Numbers of google.rpc.Code.
_INVALID, _TOO_MUCH, _INTERNAL, _UNAVAILABLE = 3, 8, 13, 14
_STEP_BYTES = 1 << 16


class _Refused(Exception):
    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def routes(receiver: Receiver) -> list[Route]:
    """The four paths."""
    return [Route(path, _endpoint(receiver, signal, word), methods=["POST"]) for path, (signal, word) in PATHS.items()]


def _endpoint(receiver: Receiver, signal: str, word: str) -> Callable[[Request], Coroutine[None, None, Response]]:
    async def endpoint(request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_json = kind == _JSON
        try:
            if kind not in (_PROTOBUF, _JSON):
                raise _Refused(415, _INVALID, f"send `{_PROTOBUF}` or `{_JSON}`")
            outcome = await _received(request, receiver, signal, is_json=is_json)
        except _Refused as refused:
            return _error(refused, is_json=is_json)
        except Overloaded:
            return _error(_Refused(503, _UNAVAILABLE, "too much waits to be stored"), is_json=is_json)
        except ClientDisconnect:
            return Response(status_code=400)
        return _answer(outcome, word, is_json=is_json)

    return endpoint


async def _received(request: Request, receiver: Receiver, signal: str, *, is_json: bool) -> Outcome:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", *_WINDOWS):
        raise _Refused(415, _INVALID, f"the encoding `{encoding[:40]}` is not known: send gzip, deflate or none")
    told = request.headers.get("content-length", "")
    if told.isascii() and told.isdigit() and int(told[:20]) > MAX_BODY_BYTES:
        raise _too_large()
    held = _Held(receiver)
    try:
        body = bytearray()
        try:
            async with asyncio.timeout(READ_S):
                async for chunk in request.stream():
                    held.more(len(chunk))
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise _too_large()
        except TimeoutError:
            raise _Refused(408, _UNAVAILABLE, "the body did not come in time") from None
        content = bytes(body)
        if encoding in _WINDOWS and content:
            del body
            content = await run_in_threadpool(_unpacked, content, _WINDOWS[encoding], held)
        return await asyncio.wrap_future(receiver.take(signal, content, is_json=is_json))
    finally:
        held.let_go()


class _Held:
    """What one request holds of the receiver's memory."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver, self._bytes = receiver, 0

    def more(self, n_bytes: int) -> None:
        self._receiver.hold(n_bytes)
        self._bytes += n_bytes

    def let_go(self) -> None:
        self._receiver.let_go(self._bytes)
        self._bytes = 0


def _unpacked(content: bytes, window: int, held: _Held) -> bytes:
    """The body; piece by piece, so that a bomb is found at the bound and not after it."""
    stream = zlib.decompressobj(window)
    pieces: list[bytes] = []
    size, rest = 0, content
    try:
        while rest and not stream.eof:
            piece = stream.decompress(rest, _STEP_BYTES)
            rest = stream.unconsumed_tail
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise _too_large()
            held.more(len(piece))
            pieces.append(piece)
    except zlib.error as error:
        raise _Refused(400, _INVALID, f"the compressed body is broken: {error}") from error
    if not stream.eof or stream.unused_data:
        raise _Refused(400, _INVALID, "the compressed body is cut short, or something stands behind it")
    return b"".join(pieces)


def _too_large() -> _Refused:
    return _Refused(413, _TOO_MUCH, f"a request has {MAX_BODY_BYTES >> 20} MiB at most, unpacked: send smaller batches")


def _answer(outcome: Outcome, word: str, *, is_json: bool) -> Response:
    if outcome.malformed:
        return _error(_Refused(400, _INVALID, outcome.reason), is_json=is_json)
    if outcome.retry:
        return _error(_Refused(503, _UNAVAILABLE, outcome.reason), is_json=is_json)
    if outcome.failed:
        return _error(_Refused(500, _INTERNAL, outcome.reason), is_json=is_json)
    if is_json:
        partial = {word: str(outcome.rejected), "errorMessage": outcome.reason} if outcome.rejected else None
        return Response(json.dumps({"partialSuccess": partial} if partial else {}), media_type=_JSON)
    content = b""
    if outcome.rejected:
        content = put_bytes(1, put_number(1, outcome.rejected) + put_bytes(2, outcome.reason.encode()))
    return Response(content, media_type=_PROTOBUF)


def _error(refused: _Refused, *, is_json: bool) -> Response:
    headers = {"retry-after": str(RETRY_S)} if refused.status == 503 else {}
    if refused.status == 408:
        headers["connection"] = "close"  # what comes of the body later is no request
    if is_json:
        return Response(json.dumps({"code": refused.code, "message": refused.message}), refused.status, headers, _JSON)
    content = put_number(1, refused.code) + put_bytes(2, refused.message.encode())
    return Response(content, refused.status, headers, _PROTOBUF)
