"""Values of OpenTelemetry's messages as plain ones, and what a request held; shared by the signals (otlp.py, otlp_metrics.py)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from proftool.contracts_telemetry import Attribute, Labels, LogRecord, Point, Slice, Span

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

UNNAMED: Final = "unknown_service"
MAX_WORK: Final = 4_000_000
"""Of one request; a span or a log record is 80, a point 20 and its buckets: what a body of 16 MiB becomes stays below some 500 MB."""
MAX_INT: Final = (1 << 63) - 1
"""Of what a database holds."""


@dataclass(slots=True)
class Found:
    """What a request held."""

    spans: list[Span] = field(default_factory=list[Span])
    points: list[Point] = field(default_factory=list[Point])
    records: list[LogRecord] = field(default_factory=list[LogRecord])
    slices: list[Slice] = field(default_factory=list[Slice])
    rejected: int = 0
    """Spans, points, records or profiles that were refused."""
    reason: str = ""
    """Of the last that was refused."""
    work: int = 0

    def has_room(self, work: int) -> bool:
        """May one more be taken? Bodies may be small and what they stand for large."""
        self.work += work
        if self.work > MAX_WORK:
            self.reject("too much in one request: send smaller batches")
            return False
        return True

    def reject(self, reason: str, count: int = 1) -> None:
        """Count what is refused."""
        self.rejected += count
        self.reason = reason


def text_of(text: str) -> str:
    """Text that every database keeps."""
    # PostgreSQL keeps no NUL in a text.
    return text.replace("\0", "\ufffd") if "\0" in text else text


def value_of(value: AnyValue) -> Attribute:
    """A value; what OpenTelemetry does not allow in an attribute is told as text."""
    match value.WhichOneof("value"):
        case "string_value":
            return text_of(value.string_value)
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "array_value":
            inner = [value_of(one) for one in value.array_value.values]
            if len({type(one) for one in inner}) == 1 and isinstance(inner[0], str | bool | int | float):
                return cast(Attribute, tuple(inner))
            return tuple(shown(one) for one in inner)
        case "kvlist_value":
            return json.dumps({pair.key: value_of(pair.value) for pair in value.kvlist_value.values}, ensure_ascii=False)
        case _:
            return ""


def shown(value: Attribute) -> str:
    """The value as a label."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, tuple) else str(value)


def attributes_of(pairs: Iterable[KeyValue]) -> dict[str, Attribute]:
    """Attributes by name."""
    return {text_of(pair.key): value_of(pair.value) for pair in pairs}


def labels_of(pairs: Iterable[KeyValue]) -> Labels:
    """Attributes as labels, sorted."""
    # Most values are texts, and not empty.
    found = [(pair.key, pair.value.string_value or shown(value_of(pair.value))) for pair in pairs]
    found.sort()
    return tuple(found)


def service_of(about: dict[str, Attribute]) -> str:
    """Which service a resource is of."""
    return shown(about.get("service.name", "")) or UNNAMED


def is_time(time_ns: int, last_ns: int) -> bool:
    """Is it known, and not ahead of the last that there may be?"""
    return 0 < time_ns <= last_ns
