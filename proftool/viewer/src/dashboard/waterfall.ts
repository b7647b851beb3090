// What a trace's rows are: which are shown under closed ones, what they hold, and where the critical path runs.
import type { Trace } from "./documents";

/** Rows that are shown, in order: none below a closed row. Rows are depth first, so what lies below one follows it. */
export function visible(trace: Trace, closed: ReadonlySet<number>): number[] {
  const rows: number[] = [];
  let skip = Infinity;
  for (let row = 0; row < trace.depth.length; row++) {
    const depth = trace.depth[row]!;
    if (depth > skip) continue;
    skip = closed.has(row) ? depth : Infinity;
    rows.push(row);
  }
  return rows;
}

/** Row after the last one below each row. */
export function ends(trace: Trace): Int32Array {
  const n = trace.depth.length, end = new Int32Array(n).fill(n), open: number[] = [];
  for (let row = 0; row < n; row++) {
    while (open.length && trace.depth[open[open.length - 1]!]! >= trace.depth[row]!) end[open.pop()!] = row;
    open.push(row);
  }
  return end;
}

/** Parts of the critical path by row. */
export function critical(trace: Trace): Map<number, [number, number][]> {
  const found = new Map<number, [number, number][]>();
  for (const [row, start, end] of trace.critical) {
    const parts = found.get(row);
    if (parts) parts.push([start, end]);
    else found.set(row, [[start, end]]);
  }
  return found;
}

export interface Part { service: number; name: number; ns: number; row: number; n: number }

/** Operations by their time on the critical path, most first; `row` is the one with the longest part. */
export function blame(trace: Trace): Part[] {
  const found = new Map<string, Part & { longest: number }>();
  for (const [row, start, end] of trace.critical) {
    const key = `${trace.service[row]} ${trace.name[row]}`, ns = end - start;
    const part = found.get(key) ?? { service: trace.service[row]!, name: trace.name[row]!, ns: 0, row, n: 0, longest: 0 };
    part.ns += ns;
    part.n += 1;
    if (ns > part.longest) { part.longest = ns; part.row = row; }
    found.set(key, part);
  }
  return [...found.values()].sort((a, b) => b.ns - a.ns);
}

/** Steps of a time axis, some five to a width: 1, 2 or 5 times a power of ten. */
export function ticks(from: number, to: number, about = 5): number[] {
  const raw = (to - from) / about;
  if (!(raw > 0)) return [];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw)!;
  const found: number[] = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(at);
  return found;
}

/** The colour of an operation: its service's, or its own where there is but one service. */
export const hue = (trace: Trace, service: number, name: number): string => `var(--s${(trace.services.length > 1 ? service : name) % 8})`;
export const rowHue = (trace: Trace, row: number): string => hue(trace, trace.service[row]!, trace.name[row]!);
