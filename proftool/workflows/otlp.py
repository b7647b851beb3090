"""What OpenTelemetry's exporters send, as spans, points and log records: protobuf or JSON, by the official classes.

A request is decoded whole or refused whole (`Malformed`); what is wrong in one item refuses that item, which the answer tells
(*partial success*).

Source: opentelemetry-proto 1.x and the OTLP specification ("JSON Protobuf Encoding": ids in hexadecimal).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar, cast

from proftool.contracts_telemetry import Attribute, LogRecord, Slice, Span, SpanEvent, SpanLink
from proftool.units import NS_PER_S
from proftool.workflows.otlp_metrics import request_class, take_metrics
from proftool.workflows.otlp_values import MAX_INT, Found, attributes_of, is_time, service_of, shown, text_of, value_of

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import ExportProfilesServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import ResourceProfiles
    from opentelemetry.proto.trace.v1 import trace_pb2

MAX_AHEAD_NS = 86_400 * NS_PER_S
"""A time further in the future is refused: what is kept by time would never go."""
_KINDS = ("internal", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")
_HAS_REMOTE, _REMOTE = 0x100, 0x200
_IDS = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id", "profileId", "profile_id"})
M = TypeVar("M", bound="Message")


class Malformed(ValueError):
    """The body is no request of its signal; the text says why."""


# --- bodies -----------------------------------------------------------------------------------------------------------------


def decode(signal: str, content: bytes, *, is_json: bool, now_ns: int) -> Found:
    """What a request of the signal holds; Malformed where it is none."""
    found = Found()
    match signal:
        case "traces":
            from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

            _take_spans(parse(ExportTraceServiceRequest(), content, is_json=is_json), found, now_ns + MAX_AHEAD_NS)
        case "metrics":
            from google.protobuf.message import DecodeError

            if is_json:
                from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

                content = parse(ExportMetricsServiceRequest(), content, is_json=True).SerializeToString()
            try:
                take_metrics(parse(request_class()(), content, is_json=False), found, now_ns + MAX_AHEAD_NS)
            except DecodeError as error:
                raise Malformed(f"an attribute: {error}"[:300]) from error
        case "logs":
            from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

            _take_logs(parse(ExportLogsServiceRequest(), content, is_json=is_json), found, now_ns)
        case _:
            from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import ExportProfilesServiceRequest

            _take_profiles(parse(ExportProfilesServiceRequest(), content, is_json=is_json), found, now_ns)
    return found


def parse(message: M, content: bytes, *, is_json: bool) -> M:
    """Fill in the message; unknown fields are passed over, as the protocol demands."""
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError

    try:
        if not is_json:
            message.ParseFromString(content)
            return message
        document = json.loads(content)
        if not isinstance(document, dict):
            raise Malformed("the body is no JSON object")
        return json_format.ParseDict(cast(dict[str, object], _with_ids(cast(object, document))), message, ignore_unknown_fields=True)
    except (DecodeError, json_format.Error, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise Malformed(f"{type(error).__name__}: {error}"[:300]) from error


def _with_ids(value: object) -> object:
    """The document with ids in base64, which is how JSON has bytes elsewhere in protobuf."""
    if isinstance(value, list):
        return [_with_ids(one) for one in cast(list[object], value)]
    if not isinstance(value, dict):
        return value
    found: dict[str, object] = {}
    for key, inner in cast(dict[str, object], value).items():
        if key in _IDS and isinstance(inner, str):
            try:
                found[key] = base64.b64encode(bytes.fromhex(inner)).decode()
            except ValueError as error:
                raise Malformed(f"`{key}` is no hexadecimal text") from error
        else:
            found[key] = _with_ids(inner)
    return found


# --- traces -----------------------------------------------------------------------------------------------------------------


def _take_spans(request: ExportTraceServiceRequest, found: Found, last_ns: int) -> None:
    for resource in request.resource_spans:
        about = attributes_of(resource.resource.attributes)
        service = service_of(about)
        for scope in resource.scope_spans:
            for one in scope.spans:
                if len(one.trace_id) != 16 or len(one.span_id) != 8 or not any(one.trace_id) or not any(one.span_id):
                    found.reject("a span without a trace id of 16 bytes and a span id of 8")
                elif not is_time(one.start_time_unix_nano, last_ns) or one.end_time_unix_nano > last_ns:
                    found.reject("a span without a start, or with one that lies ahead")
                elif found.has_room(80):
                    found.spans.append(_span(one, service, about))


def _span(one: trace_pb2.Span, service: str, about: dict[str, Attribute]) -> Span:
    attributes = attributes_of(one.attributes)
    kind = _KINDS[one.kind] if 0 <= one.kind < len(_KINDS) else "internal"
    parent = one.parent_span_id.hex() if any(one.parent_span_id) else None
    if parent is None:
        is_entry = True
    elif one.flags & _HAS_REMOTE:
        is_entry = bool(one.flags & _REMOTE)
    else:  # an exporter of before the flags
        is_entry = kind in ("server", "consumer")
    route = None
    if is_entry:
        route = _route(attributes)
        for name, value in about.items():
            attributes.setdefault(name, value)
    return Span(
        trace_id=one.trace_id.hex(),
        span_id=one.span_id.hex(),
        parent_id=parent,
        service=service,
        name=text_of(one.name),
        kind=kind,
        start_ns=one.start_time_unix_nano,
        duration_ns=max(one.end_time_unix_nano - one.start_time_unix_nano, 0),
        status=_STATUSES[one.status.code] if 0 <= one.status.code < len(_STATUSES) else "unset",
        message=text_of(one.status.message),
        is_entry=is_entry,
        route=route,
        attributes=attributes,
        events=tuple(
            SpanEvent(name=text_of(event.name), time_ns=min(event.time_unix_nano, MAX_INT), attributes=attributes_of(event.attributes))
            for event in one.events
        ),
        links=tuple(SpanLink(trace_id=link.trace_id.hex(), span_id=link.span_id.hex()) for link in one.links),
    )


def _route(attributes: dict[str, Attribute]) -> str | None:
    """As proftool's own middleware says it: `GET /orders/{id}`; by the names of before 2023 too."""
    route = attributes.get("http.route")
    method = attributes.get("http.request.method") or attributes.get("http.method") or ""
    return f"{method} {route}".strip() if route else None


# --- logs -------------------------------------------------------------------------------------------------------------------


def _take_logs(request: ExportLogsServiceRequest, found: Found, now_ns: int) -> None:
    for resource in request.resource_logs:
        service = service_of(attributes_of(resource.resource.attributes))
        for scope in resource.scope_logs:
            for one in scope.log_records:
                time_ns = one.time_unix_nano or one.observed_time_unix_nano or now_ns
                if not is_time(time_ns, now_ns + MAX_AHEAD_NS):
                    found.reject("a record whose time lies ahead")
                    continue
                if not found.has_room(80):
                    continue
                attributes = attributes_of(one.attributes)
                if scope.scope.name:
                    attributes.setdefault("otel.scope.name", text_of(scope.scope.name))
                if one.event_name:
                    attributes.setdefault("event.name", text_of(one.event_name))
                found.records.append(
                    LogRecord(
                        service=service,
                        time_ns=time_ns,
                        severity=one.severity_number if 0 <= one.severity_number <= 24 else 0,
                        level=text_of(one.severity_text),
                        body=shown(value_of(one.body)),
                        trace_id=one.trace_id.hex() if len(one.trace_id) == 16 and any(one.trace_id) else None,
                        span_id=one.span_id.hex() if len(one.span_id) == 8 and any(one.span_id) else None,
                        attributes=attributes,
                    )
                )


# --- profiles ---------------------------------------------------------------------------------------------------------------


def _take_profiles(request: ExportProfilesServiceRequest, found: Found, now_ns: int) -> None:
    """Each service's and process's as a slice of its sampler."""
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import ExportProfilesServiceRequest as One

    from proftool.errors import FormatError
    from proftool.formats.otlp import format as reader

    for (service, pid), resources in _by_process(request):
        part = One()
        if request.HasField("dictionary"):
            part.dictionary.CopyFrom(request.dictionary)
        for resource in resources:
            part.resource_profiles.append(resource)
        profiles = [one for resource in resources for scope in resource.scope_profiles for one in scope.profiles]
        try:
            profile = reader.loads(part.SerializeToString())
        except FormatError as error:
            found.reject(f"{error.what}: {error.cause}", len(profiles))
            continue
        if not len(profile.cells):
            continue
        pids = {int(lane) for lane in profile.lanes.pid}
        starts = [one.time_unix_nano for one in profiles if 0 < one.time_unix_nano <= now_ns + MAX_AHEAD_NS]
        ends = [one.time_unix_nano + one.duration_nano for one in profiles if 0 < one.time_unix_nano <= now_ns + MAX_AHEAD_NS]
        start_ns = min(starts, default=now_ns)
        found.slices.append(
            Slice(
                service=service,
                pid=pid or (pids.pop() if len(pids) == 1 else 0),
                start_ns=start_ns,
                end_ns=min(max([*ends, start_ns]), now_ns + MAX_AHEAD_NS),
                samples=len(profile.samples) or sum(len(one.samples) for one in profiles),
                profile=profile,
            )
        )


def _by_process(request: ExportProfilesServiceRequest) -> Iterator[tuple[tuple[str, int], list[ResourceProfiles]]]:
    texts = request.dictionary.string_table

    def whose(resource: ResourceProfiles) -> tuple[str, int]:
        for pair in resource.resource.attributes:
            # From opentelemetry-proto 1.9 on, names and texts may stand in the dictionary.
            if 0 < (key := getattr(pair, "key_strindex", 0)) < len(texts):
                pair.key = texts[key]
            if 0 < (value := getattr(pair.value, "string_value_strindex", 0)) < len(texts):
                pair.value.string_value = texts[value]
        about = attributes_of(resource.resource.attributes)
        pid = about.get("process.pid")
        return service_of(about), pid if isinstance(pid, int) and 0 <= pid <= MAX_INT else 0

    for key, resources in groupby(sorted(request.resource_profiles, key=whose), key=whose):
        yield key, list(resources)
