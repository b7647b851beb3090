"""Quantities, and how people read them.

Inside proftool every quantity is an integer in a base unit; only reports and the command line turn it into text, here.
"""

from __future__ import annotations

from enum import StrEnum

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000
BARS = "▁▂▃▄▅▆▇█"
"""A course of values on one line, the least first."""


class Unit(StrEnum):
    """The base unit of a metric."""

    NANOSECONDS = "ns"
    BYTES = "bytes"
    COUNT = "count"


def people(value: float, unit: Unit) -> str:
    """A quantity with three significant digits and the unit that suits it: `1.23 s`, `64.0 MiB`, `40,000`."""
    match unit:
        case Unit.NANOSECONDS:
            return _scaled(value, ((NS_PER_S, "s"), (NS_PER_MS, "ms"), (NS_PER_US, "µs"), (1, "ns")))
        case Unit.BYTES:
            return _scaled(value, ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")))
        case Unit.COUNT:
            return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:,.3g}"


def unit_of(metric: str) -> Unit:
    """The unit of a metric by its name, whose last word tells it: a stored run keeps its totals by name alone."""
    return Unit.NANOSECONDS if metric.endswith("_time") else Unit.BYTES if metric.endswith("_bytes") else Unit.COUNT


def ago(seconds: float) -> str:
    """How long that is past: `3 min ago`."""
    past = max(int(seconds), 0)
    size, name = next((size, name) for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")) if past >= size or size == 1)
    return f"{past // size} {name} ago"


def signed(value: float, unit: Unit) -> str:
    """The same with its sign: `+139 ms`, `−2.00 MiB`."""
    return ("+" if value >= 0 else "−") + people(abs(value), unit)


def percent(part: float, whole: float) -> str:
    """A share as `12.3 %`; `–` where the whole is nothing."""
    return "–" if not whole else f"{100 * part / whole:.1f} %"


def _scaled(value: float, steps: tuple[tuple[int, str], ...]) -> str:
    size = abs(value)
    for factor, name in steps:
        # 999.6 ms is 1000 ms with three digits, so it is shown as 1.00 s.
        if size >= 0.9995 * factor or factor == 1:
            shown = value / factor
            if factor == 1 and value == int(value):
                return f"{int(value)} {name}"
            digits = 0 if abs(shown) >= 99.95 else 1 if abs(shown) >= 9.995 else 2
            return f"{shown:.{digits}f} {name}"
    raise AssertionError("the last step is 1")


def duration_ns(text: str) -> int:
    """`30s`, `1.5m`, `200ms`, `2h`, `30d`, `4w` or plain seconds, as nanoseconds; ValueError names what is accepted."""
    steps = {"ms": NS_PER_MS, "us": NS_PER_US, "ns": 1, "s": NS_PER_S, "m": 60 * NS_PER_S, "h": 3600 * NS_PER_S}
    for suffix, factor in (steps | {"d": 86400 * NS_PER_S, "w": 7 * 86400 * NS_PER_S, "": NS_PER_S}).items():
        number = text.strip().removesuffix(suffix) if suffix else text.strip()
        if text.strip().endswith(suffix):
            try:
                value = float(number)
            except ValueError:
                continue
            if value >= 0 and value * factor < 1 << 62:
                return round(value * factor)
    raise ValueError(f"`{text}` is no duration; write for example 30s, 1.5m, 200ms")


def size_bytes(text: str) -> int:
    """`1MB`, `64 MiB`, `2k` or plain bytes; MB is 10⁶ and MiB is 2²⁰; ValueError names what is accepted."""
    steps = {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
    steps |= {"k": 10**3, "m": 10**6, "g": 10**9, "b": 1}
    compact = text.strip().lower().replace(" ", "")
    for suffix, factor in steps.items():
        if compact.endswith(suffix):
            compact, scale = compact.removesuffix(suffix), factor
            break
    else:
        scale = 1
    try:
        value = float(compact)
    except ValueError:
        value = -1.0
    if not 0 <= value * scale < 1 << 62:
        raise ValueError(f"`{text}` is no size; write for example 500kB, 64MiB, 1GB")
    return round(value * scale)
