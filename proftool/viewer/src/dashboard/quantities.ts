// Quantities and times as the dashboard's readers see them, on top of the viewer's.
import { people } from "../units";
import type { Numbers } from "./documents";

/** Seconds, a count, bytes, a share: by the name of the unit. */
export function shown(value: number | null | undefined, unit: string): string {
  if (value === null || value === undefined) return "–";
  switch (unit) {
    case "s": return people(Math.round(value * 1e9), "ns");
    case "bytes": return people(Math.round(value), "bytes");
    case "share": return `${(100 * value).toFixed(value && Math.abs(value) < 0.1 ? 2 : 1)} %`;
    case "/s": return `${digits(value)}/s`;
    case "cores": return digits(value);
    default: return digits(value);
  }
}

/** Three digits, thousands apart. */
export function digits(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
  return String(+value.toPrecision(3));
}

export const time = (ns: number): string => people(Math.round(ns), "ns");
export const share = (part: number, whole: number): string => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "–");

/**
 * Values for a line: `undefined` (drawn through) where a value is missing between two that are about as far apart as they usually are.
 *
 * Points that come every 10 s or every minute leave steps without one; a gap is shown only where more than two in a row are missing.
 */
export function joined(values: Numbers): (number | null | undefined)[] {
  const known = values.flatMap((value, k) => (value === null ? [] : [k]));
  const apart = known.slice(1).map((k, i) => k - known[i]!);
  const usual = [...apart].sort((a, b) => a - b)[apart.length >> 1] ?? 1;
  const out: (number | null | undefined)[] = [...values];
  apart.forEach((steps, i) => { if (steps <= 3 * usual) out.fill(undefined, known[i]! + 1, known[i + 1]!); });
  return out;
}

/** Where values are too few together for a line that can be seen: they are drawn as points. */
export function brief(values: readonly (number | null | undefined)[], least = 4): number[] {
  const out: number[] = [];
  let together: number[] = [];
  for (let k = 0; k <= values.length; k++) {
    if (values[k] != null) together.push(k);
    else if (values[k] === null || k === values.length) {
      if (together.length < least) out.push(...together);
      together = [];
    }
  }
  return out;
}

const pad = (n: number): string => String(n).padStart(2, "0");

/** `14:03:59`, with the day where it is not today. */
export function clock(ms: number, seconds = true): string {
  const at = new Date(ms);
  const hours = `${pad(at.getHours())}:${pad(at.getMinutes())}${seconds ? `:${pad(at.getSeconds())}` : ""}`;
  return new Date().toDateString() === at.toDateString() ? hours : `${at.toLocaleDateString("en-US", { month: "short", day: "numeric" })} ${hours}`;
}

/** `3 min ago`. */
export function ago(ms: number, now = Date.now()): string {
  const s = Math.max(0, (now - ms) / 1000);
  if (s < 5) return "just now";
  for (const [size, name] of [[86400, "d"], [3600, "h"], [60, "min"]] as const) if (s >= size) return `${Math.floor(s / size)} ${name} ago`;
  return `${Math.floor(s)} s ago`;
}

/** `20 min`, `6 h`. */
export function span(seconds: number): string {
  for (const [size, name] of [[86400, "d"], [3600, "h"], [60, "min"]] as const) if (seconds >= size) return `${+(seconds / size).toFixed(1)} ${name}`;
  return `${Math.round(seconds)} s`;
}

/** The value of a `datetime-local` field. */
export function local(ms: number): string {
  const at = new Date(ms);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}T${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}
