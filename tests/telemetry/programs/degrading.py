"""A service whose payment blocks the event loop while a file named `slow` is there; its rules stand in pyproject.toml."""

import logging
import sys
import time
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import proftool
from proftool.telemetry.asgi import ASGIMiddleware
from proftool.telemetry.incidents import Watched
from proftool.telemetry.tracing_start import Options


async def checkout(request):
    charge_card()
    return PlainTextResponse("ok")


def charge_card():
    if Path("slow").exists():
        time.sleep(0.3)  # the cause


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    options = Options(slice_s=1.0, every_s=0.2, leaks=False, alerts=Watched(look_s=0.5, resolve_s=3.0, save_s=1.0))
    watching = proftool.watch("degrading", options=options)
    uvicorn.run(ASGIMiddleware(Starlette(routes=[Route("/checkout", checkout)])), port=int(sys.argv[1]), log_level="warning")
