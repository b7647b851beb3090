// Quantities as people read them: the same steps and digits as proftool/units.py.
import type { Unit } from "./schema";

const STEPS: Record<"ns" | "bytes", [number, string][]> = {
  ns: [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]],
  bytes: [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]],
};

/** `1.23 s`, `64.0 MiB`, `40,000`. */
export function people(value: number, unit: Unit): string {
  const size = Math.abs(value);
  if (unit === "count") return Number.isInteger(value) || size >= 100 ? Math.round(value).toLocaleString("en-US") : String(+value.toPrecision(3));
  for (const [factor, name] of STEPS[unit]) {
    if (size < factor && factor !== 1) continue;
    const shown = value / factor;
    if (factor === 1 && Number.isInteger(value)) return `${value} ${name}`;
    return `${shown.toFixed(Math.abs(shown) >= 99.95 ? 0 : Math.abs(shown) >= 9.995 ? 1 : 2)} ${name}`;
  }
  return String(value);
}

/** `+139 ms`, `−2.00 MiB`. */
export const signed = (value: number, unit: Unit): string => (value < 0 ? "−" : "+") + people(Math.abs(value), unit);

/** `12.3 %`; `–` where the whole is nothing. */
export const percent = (part: number, whole: number, digits = 1): string => (whole ? `${((100 * part) / whole).toFixed(digits)} %` : "–");

/** `wall_time` -> `wall time`. */
export const metricName = (name: string): string => name.replaceAll("_", " ");
