"""The tables of a fleet: append-only facts, two dictionaries, and sums by hour. Times are integers, in ns, hours or days since the epoch.

    samples            (service, type, time) -> stack, value       one row a stack of a slice; goes after `raw_days`
    observations       (service, time) -> what was observed        one row a slice: exposure, samples, losses; goes with them
    sample_hours       (service, type, hour) -> sum of values      fed by a materialised view; goes after `hour_days`
    observation_hours  (service, hour, process) -> sums            likewise
    stacks             (service, id) -> frames, outermost first    dictionary: written once a day by each process that meets it
    frames             (service, id) -> function and line          likewise

`id` is a hash of the content, so processes agree on it without asking. Plain MergeTree tables remember the tokens of their last
inserts (`non_replicated_deduplication_window`), so a batch that is sent twice counts once; replicated tables do that by themselves.
On a cluster create the same tables with `ReplicatedMergeTree` engines, or in a `Replicated` database, and `Distributed` ones over
them: nothing here names an engine again.
"""

from __future__ import annotations

from proftool.units import NS_PER_S

RAW_DAYS = 7
HOUR_DAYS = 90
NS_PER_HOUR = 3600 * NS_PER_S
NS_PER_DAY = 24 * NS_PER_HOUR

_LOW = "LowCardinality(String)"
_KEEP_TOKENS = "non_replicated_deduplication_window = 1000"

COLUMNS: dict[str, dict[str, str]] = {
    "samples": {
        "service": _LOW, "type": _LOW, "time_ns": "Int64", "version": _LOW, "host": _LOW, "pid": "UInt32", "route": _LOW,
        "stack": "UInt64", "value": "Int64",
    },
    "observations": {
        "service": _LOW, "time_ns": "Int64", "version": _LOW, "host": _LOW, "pid": "UInt32", "backend": _LOW, "python": _LOW,
        "rate_asked_hz": "Float64", "duration_ns": "Int64", "looks": "Int64", "samples": "Int64", "missed": "Int64",
        "overhead_ns": "Int64", "lost": "Int64",
    },
    "stacks": {"service": _LOW, "id": "UInt64", "frames": "Array(UInt64)", "seen_day": "UInt32"},
    "frames": {
        "service": _LOW, "id": "UInt64", "name": "String", "qualname": "String", "module": "String", "file": "String",
        "first_line": "UInt32", "code_hash": "String", "identified": "UInt8", "kind": "UInt8", "category": "UInt8", "line": "UInt32",
        "seen_day": "UInt32",
    },
}  # fmt: skip
"""Table that is inserted into -> column -> type."""
_CODECS = {"time_ns": "CODEC(Delta, ZSTD(1))", "stack": "CODEC(ZSTD(1))", "value": "CODEC(T64, ZSTD(1))", "frames": "CODEC(ZSTD(3))"}


def commands(database: str, raw_days: int = RAW_DAYS, hour_days: int = HOUR_DAYS) -> list[str]:
    """What makes the database and whatever of its tables is missing."""
    at = f"`{database}`"
    raw, hours = _ttl("intDiv(time_ns, 1000000000)", raw_days), _ttl("hour * 3600", hour_days)
    known = _ttl("seen_day * 86400", hour_days + 1)  # no sum outlives its stack
    day = "toDate(toDateTime(intDiv(time_ns, 1000000000), 'UTC'))"
    month = "toYYYYMM(toDateTime(hour * 3600, 'UTC'))"
    made = [f"CREATE DATABASE IF NOT EXISTS {at}"]

    def table(name: str, columns: str, engine: str) -> None:
        made.append(f"CREATE TABLE IF NOT EXISTS {at}.{name} ({columns}) ENGINE = {engine}")

    table(
        "samples",
        _columns("samples"),
        f"MergeTree PARTITION BY {day} ORDER BY (service, type, time_ns) TTL {raw} SETTINGS ttl_only_drop_parts = 1, {_KEEP_TOKENS}",
    )
    table(
        "observations",
        _columns("observations"),
        f"MergeTree PARTITION BY {day} ORDER BY (service, time_ns) TTL {raw} SETTINGS ttl_only_drop_parts = 1, {_KEEP_TOKENS}",
    )
    table(
        "sample_hours",
        f"service {_LOW}, type {_LOW}, hour UInt32, version {_LOW}, route {_LOW}, stack UInt64, value Int64",
        f"SummingMergeTree(value) PARTITION BY {month} ORDER BY (service, type, hour, version, route, stack) "
        f"TTL {hours} SETTINGS {_KEEP_TOKENS}",
    )
    table(
        "observation_hours",
        f"service {_LOW}, hour UInt32, version {_LOW}, host {_LOW}, pid UInt32, backend {_LOW}, python {_LOW}, rate_asked_hz Float64,"
        " slices Int64, duration_ns Int64, looks Int64, samples Int64, missed Int64, overhead_ns Int64, lost Int64",
        "SummingMergeTree((slices, duration_ns, looks, samples, missed, overhead_ns, lost)) "
        f"PARTITION BY {month} ORDER BY (service, hour, version, host, pid, backend, python, rate_asked_hz) "
        f"TTL {hours} SETTINGS {_KEEP_TOKENS}",
    )
    table("stacks", _columns("stacks"), f"ReplacingMergeTree(seen_day) ORDER BY (service, id) TTL {known}")
    table("frames", _columns("frames"), f"ReplacingMergeTree(seen_day) ORDER BY (service, id) TTL {known}")
    hour = f"toUInt32(intDiv(time_ns, {NS_PER_HOUR})) AS hour"
    made.append(
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS {at}.samples_to_hours TO {at}.sample_hours AS "
        f"SELECT service, type, {hour}, version, route, stack, sum(value) AS value FROM {at}.samples "
        "GROUP BY service, type, hour, version, route, stack"
    )
    sums = ", ".join(f"sum({name}) AS {name}" for name in ("duration_ns", "looks", "samples", "missed", "overhead_ns", "lost"))
    made.append(
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS {at}.observations_to_hours TO {at}.observation_hours AS "
        f"SELECT service, {hour}, version, host, pid, backend, python, rate_asked_hz, toInt64(count()) AS slices, {sums} "
        f"FROM {at}.observations GROUP BY service, hour, version, host, pid, backend, python, rate_asked_hz"
    )
    return made


def retention(database: str, raw_days: int, hour_days: int) -> list[str]:
    """What changes how long rows of tables that exist are kept."""
    at = f"`{database}`"
    raw, hours, known = "intDiv(time_ns, 1000000000)", "hour * 3600", "seen_day * 86400"
    rules = [("samples", raw, raw_days), ("observations", raw, raw_days), ("sample_hours", hours, hour_days)]
    rules += [("observation_hours", hours, hour_days), ("stacks", known, hour_days + 1), ("frames", known, hour_days + 1)]
    return [f"ALTER TABLE {at}.{table} MODIFY TTL {_ttl(seconds, days)}" for table, seconds, days in rules]


def _columns(table: str) -> str:
    return ", ".join(f"{name} {kind} {_CODECS.get(name, '')}".rstrip() for name, kind in COLUMNS[table].items())


def _ttl(seconds: str, days: int) -> str:
    return f"toDateTime({seconds}, 'UTC') + INTERVAL {days} DAY"
