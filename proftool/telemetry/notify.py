"""Where alerts go: the log, and a webhook that Slack understands.

A webhook is called in a thread of its own, three times at most, and never from a request; a receiver that is gone, slow or broken costs
nothing but lines in the log. Its body is Slack's: `text`, and the fields of the alert beside it for receivers that read them; of
requests there is nothing in it but the route, and the place in the code.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Sequence
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit

from proftool.contracts_incidents import Suspect
from proftool.errors import UsageError
from proftool.telemetry.alerts import Alert
from proftool.telemetry.points import Sample

_LOG = logging.getLogger("proftool.telemetry.alerts")
TRIES = 3
TIMEOUT_S = 10.0
_WAITING = 100
"""Messages that wait at most; a receiver that is gone for hours costs no memory."""


def to_log(alert: Alert, _: Sequence[Sample] = ()) -> None:
    """Write the alert to the log `proftool.telemetry.alerts`: a warning, its end an information."""
    level = logging.INFO if alert.state == "resolved" else logging.WARNING
    where = f"; {place(alert.suspects[0])}" if alert.suspects and alert.state != "resolved" else ""
    link = f"; {alert.link}" if alert.link else ""
    _LOG.log(level, "%s: %s of %s%s: %s%s%s", alert.state, alert.name, alert.service, _lasted(alert), alert.text, where, link)


def body(alert: Alert) -> bytes:
    """What a webhook gets."""
    sign = {"firing": ":red_circle:", "still firing": ":red_circle:", "resolved": ":large_green_circle:"}[alert.state]
    lines = [f"{sign} *{_slack(alert.name)}* of {_slack(alert.service)} {alert.state}{_lasted(alert)}: {_slack(alert.text)}"]
    if alert.state != "resolved":
        lines += [f"• {_slack(place(one))} ({one.confidence}): {_slack(one.evidence[0])}" for one in alert.suspects[:3]]
    if alert.link:
        lines.append(f"<{alert.link}|{alert.incident}>" if "://" in alert.link else f"`{alert.link}`")
    return json.dumps(
        {
            "text": "\n".join(lines),
            "id": alert.incident or alert.id,
            "alert": alert.name,
            "service": alert.service,
            "state": alert.state,
            "value": alert.value,
            "limit": alert.limit,
            "began_s": alert.began_s,
            "time_s": alert.time_s,
            "link": alert.link or None,
            "suspects": [
                {
                    "function": one.function,
                    "file": one.file,
                    "line": one.line,
                    "confidence": one.confidence,
                    "sources": one.sources,
                    "evidence": one.evidence,
                    "advice": one.advice,
                    "route": one.route,
                }
                for one in alert.suspects
            ],
        }
    ).encode()


def place(suspect: Suspect) -> str:
    """`charge_card (shop/pay.py:41)`."""
    return f"{suspect.function} ({suspect.file}:{suspect.line})"


def _lasted(alert: Alert) -> str:
    if alert.state == "firing":
        return ""
    minutes = (alert.time_s - alert.began_s) / 60
    return f" after {minutes:.0f} min" if minutes >= 1 else f" after {minutes * 60:.0f} s"


def _slack(text: str) -> str:
    """Slack reads three characters as its own."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Webhook:
    """Posts alerts to a URL, one after the other."""

    def __init__(self, url: str, *, pause_s: float = 2.0, timeout_s: float = TIMEOUT_S) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise UsageError("the webhook has no address", cause="it is not an http or https URL", fix="write webhook = `https://…`")
        self._url, self._pause_s, self._timeout_s = url, pause_s, timeout_s
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._waiting: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __call__(self, alert: Alert, _: Sequence[Sample] = ()) -> None:
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            if len(self._waiting) >= _WAITING:
                _LOG.error("the webhook does not keep up: %s of %s was not sent", alert.state, alert.name)
                return
            self._waiting.append(body(alert))
            if self._thread is None:
                self._thread = threading.Thread(target=self._send, name="proftool-webhook", daemon=True)
                self._thread.start()

    def flush(self, timeout_s: float = TIMEOUT_S) -> bool:
        """Wait until everything was sent or given up; is it?"""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return self._thread is None

    def _send(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    # Under the lock: whoever adds now begins another thread.
                    self._thread = None
                    return
                content = self._waiting.popleft()
            if not self._delivered(content):
                _LOG.error("the webhook got nothing of %s: it was given up", json.loads(content)["id"])

    def _delivered(self, content: bytes) -> bool:
        for attempt in range(TRIES):
            try:
                self._post(content)
                return True
            except (OSError, HTTPException, ValueError) as error:
                # Not the URL, nor a text that may hold it: it is the secret of a Slack webhook.
                told = f"status {error.code}" if isinstance(error, HTTPError) else _reason(error)
                _LOG.warning("the webhook failed (%s), try %d of %d", told, attempt + 1, TRIES)
                if isinstance(error, HTTPError):
                    error.close()
                    if 400 <= error.code < 500 and error.code not in (408, 429):
                        return False
            if attempt + 1 < TRIES:
                time.sleep(self._pause_s * 2**attempt)
        return False

    def _post(self, content: bytes) -> None:
        request = urllib.request.Request(self._url, content, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
            answer.read(1 << 16)


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", None)
    return type(inner if isinstance(inner, Exception) else error).__name__
