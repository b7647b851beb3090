"""Where alerts go: the log, and a webhook that Slack understands.

A webhook is called in a thread of its own, three times at most, and never from a request. Its body is Slack's: `text`, and the fields
of the alert beside it for receivers that read them; nothing of a request is in it.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
import urllib.request
from collections.abc import Sequence
from urllib.parse import urlsplit

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
    _LOG.log(level, "%s: %s of %s: %s", alert.state, alert.name, alert.service, alert.text)


def body(alert: Alert) -> bytes:
    """What a webhook gets."""
    sign = {"firing": ":red_circle:", "still firing": ":red_circle:", "resolved": ":large_green_circle:"}[alert.state]
    return json.dumps(
        {
            "text": f"{sign} *{alert.name}* of {alert.service} {alert.state}: {alert.text}",
            "id": alert.id,
            "alert": alert.name,
            "service": alert.service,
            "state": alert.state,
            "value": alert.value,
            "limit": alert.limit,
            "began_s": alert.began_s,
            "time_s": alert.time_s,
        }
    ).encode()


class Webhook:
    """Posts alerts to a URL, one after the other."""

    def __init__(self, url: str, *, pause_s: float = 2.0) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise UsageError("the webhook has no address", cause="it is not an http or https URL", fix="write webhook = `https://…`")
        self._url = url
        self._pause_s = pause_s
        self._waiting: queue.Queue[bytes] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None

    def __call__(self, alert: Alert, _: Sequence[Sample] = ()) -> None:
        try:
            self._waiting.put_nowait(body(alert))
        except queue.Full:
            _LOG.error("the webhook does not keep up: %s of %s was not sent", alert.state, alert.name)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._send, name="proftool-webhook", daemon=True)
            self._thread.start()

    def flush(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until everything was sent or given up."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _send(self) -> None:
        while True:
            try:
                content = self._waiting.get(timeout=0.05)
            except queue.Empty:
                return
            for attempt in range(TRIES):
                try:
                    self._post(content)
                    break
                except OSError as error:
                    # Not the URL: it is the secret of a Slack webhook.
                    _LOG.warning("the webhook failed (%s), try %d of %d", type(error).__name__, attempt + 1, TRIES)
                    time.sleep(self._pause_s * 2**attempt)

    def _post(self, content: bytes) -> None:
        request = urllib.request.Request(self._url, content, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            answer.read()
