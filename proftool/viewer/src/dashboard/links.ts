// Addresses of views. Names come from strangers: they stand in queries only, encoded.
import type { Time } from "./documents";

export type Ask = Record<string, string | number | null | undefined>;

export function link(path: string, ask: Ask = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(ask)) if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** A range for a query: relative as long as it moves. */
export const ranged = (time: Time): Ask => (time.range ? { range: time.range } : { since: time.since_ms, until: time.until_ms });
export const fixed = (time: Time): Ask => ({ since: Math.round(time.since_ms), until: Math.round(time.until_ms) });
export const traceLink = (id: string, span?: string): string => `/trace/${encodeURIComponent(id)}${span ? `#span=${encodeURIComponent(span)}` : ""}`;
export const serviceLink = (name: string, time?: Time, route?: string | null): string => link("/service", { name, route, ...(time ? ranged(time) : {}) });
