// What the page of an incident says, and how its measures become lines. Nothing here touches the DOM.
import { people } from "./units";

export interface Place { function: string; file: string; line: number; sources: string[]; confidence: "low" | "medium" | "high"; evidence: string[]; advice: string; route: string | null }
export interface Line { name: string; unit: string; times: number[]; values: (number | null)[]; limit: number | null }
export interface Operation { name: string; service: string; start: number; duration: number; depth: number; failed: boolean; place: string }
export interface Trace { id: string; name: string; start: number; duration: number; failed: boolean; kept: string; operations: Operation[] }
/** As reports/incident.py `Told`; times are ms since the epoch. */
export interface Incident {
  id: string; service: string; alert: string; state: "firing" | "resolved" | "lost"; text: string; route: string | null;
  began: number; fired: number; ended: number | null; seen: number; good: [number, number] | null; bad: [number, number];
  places: Place[]; lines: Line[]; traces: Trace[]; findings: [string, string, string, number][]; version: [string, string][]; notes: string[];
}

const WIDTH = 320, HEIGHT = 90;

/** `2026-03-01 14:02:11`, of the reader's own clock. */
export function clock(ms: number): string {
  const d = new Date(ms), two = (n: number): string => String(n).padStart(2, "0");
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

/** `14:02:11`. */
export const time = (ms: number): string => clock(ms).slice(11);

/** `350 ms`, `75 s`, `12 min`, `3.5 h`. */
export function lasted(ms: number): string {
  if (ms < 10_000) return people(ms * 1e6, "ns");
  const s = Math.round(ms / 1000);
  return s < 120 ? `${s} s` : s < 7200 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`;
}

/** A value with its unit of OpenTelemetry's. */
export function reading(value: number, unit: string): string {
  if (unit === "s") return people(value * 1e9, "ns");
  if (unit === "By") return people(value, "bytes");
  const text = people(value, "count");
  return unit === "1/s" ? `${text}/s` : text;
}

export interface Box { paths: string[]; from: number; width: number; limit: number | null; most: number; last: number }

/** A measure as polylines (a gap where nothing is known), with the time of the incident and the limit, in a box of 320 by 90. */
export function box(line: Line, began: number, ended: number): Box {
  const first = line.times[0] ?? began, span = Math.max(1, (line.times.at(-1) ?? ended) - first);
  const known = line.values.filter((v): v is number => v !== null), most = Math.max(0, ...known), top = Math.max(most, line.limit ?? 0) * 1.1 || 1;
  const x = (t: number): number => Math.min(WIDTH, Math.max(0, ((t - first) / span) * WIDTH)), y = (v: number): number => HEIGHT - (Math.max(0, v) / top) * HEIGHT;
  const paths: string[][] = [[]];
  line.times.forEach((t, k) => {
    const v = line.values[k];
    if (v == null) paths.push([]);
    else paths.at(-1)!.push(`${x(t).toFixed(1)},${y(v).toFixed(1)}`);
  });
  return {
    // One point alone is drawn as a dash.
    paths: paths.filter((p) => p.length).map((p) => (p.length > 1 ? p : [p[0]!, p[0]!.replace(/^[^,]+/, (n) => String(Number(n) + 1))]).join(" ")),
    from: x(began), width: Math.max(1, x(ended) - x(began)), limit: line.limit === null ? null : y(line.limit), most, last: known.at(-1) ?? 0,
  };
}
