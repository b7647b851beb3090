"""Benchmarks as one offline HTML page: every process is a dot. No script, nothing from elsewhere; text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from proftool.bench.measured import Measured
from proftool.bench.report import measurement_lines
from proftool.bench.statistics import Floats
from proftool.units import Unit, people

_WIDTH, _LANE, _MARGIN = 720, 46, 14
_STYLE = """
:root{color-scheme:light dark;--ink:#1b1b1f;--soft:#6b6b76;--line:#d9d9e0;--base:#3b6fd1;--new:#c2571a;--page:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e8e8ee;--soft:#9a9aa6;--line:#3a3a44;--base:#7ea6f0;--new:#f0935a;--page:#17171b}}
body{font:15px/1.45 system-ui,sans-serif;max-width:820px;margin:2rem auto;padding:0 1rem;color:var(--ink);background:var(--page)}
h1{font-size:1.3rem}h2{font-size:1.05rem;margin:1.6rem 0 .3rem}p{margin:.2rem 0;color:var(--soft)}svg{width:100%;height:auto}
.base{fill:var(--base)}.new{fill:var(--new)}circle{fill-opacity:.55}line{stroke:var(--line)}.mid{stroke:var(--ink);stroke-width:2}
text{font-size:12px;fill:var(--soft)}td,th{padding:.15rem .8rem .15rem 0;text-align:left}pre{white-space:pre-wrap}
"""


def measurement_page(rows: Sequence[Measured]) -> bytes:
    """The answer of `bench`."""
    parts: list[str] = []
    for row, told in zip(rows, _by_two(measurement_lines(rows)), strict=True):
        unit = Unit.COUNT if row.clock == "instructions" else Unit.NANOSECONDS
        parts.append(f"<h2>{escape(row.name)}</h2>{_plot([('', 'base', row.values_ns)], unit)}<p>{escape(told[1].strip())}</p>")
    return _page("Benchmarks", f"<p>{len(rows)} benchmarks; a dot is a fresh process, the bar their median</p>", parts)


def _plot(lanes: Sequence[tuple[str, str, Floats]], unit: Unit) -> str:
    every = np.concatenate([values for _, _, values in lanes])
    low, high = float(every.min()), float(every.max())
    span = (high - low) or max(abs(high), 1.0)

    def x(value: float) -> float:
        return _MARGIN + (value - low) / span * (_WIDTH - 2 * _MARGIN)

    height = _LANE * len(lanes) + 22
    drawn: list[str] = []
    for at, (name, kind, values) in enumerate(lanes):
        middle = at * _LANE + _LANE / 2 + 4
        drawn.append(f'<line x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{middle}" y2="{middle}"/>')
        taken: dict[int, int] = {}
        for value in sorted(values.tolist()):
            column = round(x(value) / 7)
            stacked = taken[column] = taken.get(column, -1) + 1
            # Dots that would lie upon each other are stacked to both sides of the line.
            offset = (stacked + 1) // 2 * 6 * (1 if stacked % 2 else -1)
            drawn.append(
                f'<circle class="{kind}" cx="{x(value):.1f}" cy="{middle + max(-16, min(16, offset)):.1f}" r="3.5">'
                f"<title>{people(value, unit)}</title></circle>"
            )
        centre = x(float(np.median(values)))
        drawn.append(f'<line class="mid" x1="{centre:.1f}" x2="{centre:.1f}" y1="{middle - 14}" y2="{middle + 14}"/>')
        drawn.append(f'<text x="{_MARGIN}" y="{at * _LANE + 10}">{escape(name)}</text>')
    drawn.append(f'<text x="{_MARGIN}" y="{height - 4}">{people(low, unit)}</text>')
    drawn.append(f'<text x="{_WIDTH - _MARGIN}" y="{height - 4}" text-anchor="end">{people(high, unit)}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">{"".join(drawn)}</svg>'


def _by_two(lines: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(lines[::2], lines[1::2], strict=True))


def _page(title: str, lead: str, parts: Sequence[str]) -> bytes:
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title><style>{_STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1>{lead}{''.join(parts)}</body></html>\n"
    ).encode("utf-8", "replace")
