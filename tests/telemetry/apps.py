"""One application in five frameworks, wrapped: `/items/{id}`, `/fail`, `/stream`, `/metrics`. Servers import it by name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from proftool.telemetry import ASGIMiddleware, WSGIMiddleware


def _parts() -> Iterator[bytes]:
    for part in (b"one", b"two", b"three"):
        time.sleep(0.02)
        yield part


def starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Mount, Route, WebSocketRoute
    from starlette.websockets import WebSocket

    async def item(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.path_params["id"] * 10)

    async def fail(_: Request) -> PlainTextResponse:
        raise LookupError("planned")

    async def stream(_: Request) -> StreamingResponse:
        return StreamingResponse(_parts())

    async def size(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    routes = [
        Route("/items/{id}", item, methods=["GET", "PUT"]),
        Route("/fail", fail),
        Route("/stream", stream),
        Route("/size", size, methods=["POST"]),
        WebSocketRoute("/echo/{room}", echo),
        Mount("/team/{team}", routes=[Route("/items/{id}", item)]),
    ]
    return ASGIMiddleware(Starlette(routes=routes), server_timing=True, metrics_path="/metrics")


def fastapi() -> Any:
    from fastapi import APIRouter, FastAPI
    from fastapi.responses import StreamingResponse

    app, router = FastAPI(), APIRouter()

    @router.get("/items/{id}")
    async def item(id: int) -> dict[str, int]:
        return {"id": id}

    @app.get("/fail")
    def fail() -> None:
        raise LookupError("planned")

    @app.get("/stream")
    def stream() -> StreamingResponse:
        return StreamingResponse(_parts())

    app.include_router(router)
    app.include_router(router, prefix="/v2")
    return ASGIMiddleware(app, server_timing=True, metrics_path="/metrics")


def flask() -> Any:
    from flask import Flask, Response

    app = Flask(__name__)

    @app.get("/items/<id>")
    def item(id: str) -> str:
        return id * 10

    @app.get("/fail")
    def fail() -> str:
        raise LookupError("planned")

    @app.get("/stream")
    def stream() -> Response:
        return Response(_parts())

    app.wsgi_app = WSGIMiddleware(app.wsgi_app, server_timing=True, metrics_path="/metrics")  # type: ignore[method-assign]
    return app


def django() -> Any:
    import django as package
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
    from django.urls import path

    def item(_: HttpRequest, id: int) -> HttpResponse:
        return HttpResponse(str(id) * 10)

    def fail(_: HttpRequest) -> HttpResponse:
        raise LookupError("planned")

    def stream(_: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(_parts())

    class Urls:
        urlpatterns = (path("items/<int:id>", item), path("fail", fail), path("stream", stream))

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=Urls, SECRET_KEY="x", MIDDLEWARE=[], LOGGING_CONFIG=None)
        package.setup()
    return WSGIMiddleware(get_wsgi_application(), server_timing=True, metrics_path="/metrics")


def plain(environ: dict[str, Any], start_response: Any) -> Any:
    from proftool.telemetry.request import current

    request = current()
    assert request is not None
    if environ["PATH_INFO"].startswith("/items/"):
        request.route = "/items/{id}"
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"][7:].encode() * 10]
    if environ["PATH_INFO"] == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return _parts()
    if environ["PATH_INFO"] == "/fail":
        raise LookupError("planned")
    start_response("404 Not Found", [])
    return [b""]


WSGI = {"flask": flask, "django": django, "plain": lambda: WSGIMiddleware(plain, server_timing=True, metrics_path="/metrics")}
ASGI = {"starlette": starlette, "fastapi": fastapi}

_name = os.environ.get("APP", "")
app: Any = (WSGI | ASGI)[_name]() if _name else None
"""What a server serves."""
