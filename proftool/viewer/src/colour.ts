// Colours of rows as 32-bit pixels. Categories use orange, blue, grey and purple (told apart with any colour vision);
// diffs run from vermilion (more) over grey (nothing known) to blue (less).
import { CATEGORIES } from "./schema";
import type { Profile } from "./profile";
import { rowFunction, type View } from "./view";

export type ColourMode = "category" | "module" | "diff" | "plain";
export type Rgb = readonly [number, number, number];

export const PALETTE: { readonly [theme in "light" | "dark"]: { category: readonly Rgb[]; other: Rgb; more: Rgb; less: Rgb; unknown: Rgb; match: Rgb; ground: Rgb } } = {
  light: { category: [[243, 174, 92], [130, 188, 230], [190, 200, 210], [202, 172, 220]], other: [222, 222, 218], more: [221, 92, 18], less: [22, 116, 186], unknown: [205, 205, 203], match: [230, 66, 155], ground: [255, 255, 255] },
  dark: { category: [[222, 156, 76], [100, 160, 206], [137, 150, 164], [168, 138, 192]], other: [128, 133, 140], more: [232, 110, 40], less: [60, 146, 214], unknown: [118, 121, 126], match: [244, 92, 176], ground: [22, 24, 28] },
};
export const CATEGORY_NAMES: readonly string[] = CATEGORIES.map((c) => ({ project: "your project", library: "libraries", stdlib: "standard library", native: "native code" })[c]);

const pack = ([r, g, b]: Rgb): number => ((255 << 24) | (Math.round(b) << 16) | (Math.round(g) << 8) | Math.round(r)) >>> 0;
const mix = (a: Rgb, b: Rgb, t: number): Rgb => [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t];
export const css = (c: Rgb): string => `rgb(${c.map(Math.round).join(" ")})`;

function hash(n: number): number {
  let h = Math.imul(n + 1, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b);
  return ((h ^ (h >>> 13)) >>> 0) / 4294967296;
}

function hue(h: number, dark: boolean): Rgb {
  const f = (n: number): number => { const k = (n + h * 12) % 12, l = dark ? 0.58 : 0.74, a = 0.42 * Math.min(l, 1 - l); return 255 * (l - a * Math.max(-1, Math.min(k - 3, 9 - k, 1))); };
  return [f(0), f(8), f(4)];
}

/**
 * Colour of a row of a diff: hue by the sign of what is known to have changed in it and below it, saturation by how large that
 * is beside the row itself; what may be chance has no part in it, so grey is “not known to differ”.
 */
export function diffColour(known: number, before: number, after: number, theme: "light" | "dark"): Rgb {
  const c = PALETTE[theme], size = Math.max(before, after);
  if (!size || !known) return c.unknown;
  return mix(c.unknown, known > 0 ? c.more : c.less, Math.min(1, 0.12 + (Math.abs(known) / size) * 1.1));
}

/** A function from row to pixel. `matches` (per function) fades all that does not match. */
export function painter(p: Profile, view: View, mode: ColourMode, theme: "light" | "dark", matches: Uint8Array | null): (row: number) => number {
  const c = PALETTE[theme], dark = theme === "dark", known = new Map<number, number>();
  const ofFunction = (f: number): Rgb => {
    if (p.functions.kind[f] === 4) return c.other;
    if (mode === "module") return hue(hash(p.functions.module[f]!), dark);
    const base = mode === "plain" ? c.category[0]! : c.category[p.functions.category[f]!] ?? c.other;
    return mix(base, c.ground, 0.16 * hash(f));
  };
  return (row) => {
    const f = rowFunction(p, view.tree, row);
    if (mode === "diff" && view.before && view.after) {
      const colour = diffColour(view.known?.[row] ?? 0, view.before[row]!, view.after[row]!, theme);
      return pack(matches ? (f >= 0 && matches[f] ? c.match : mix(colour, c.ground, 0.6)) : colour);
    }
    if (f < 0) return pack(c.other);
    let pixel = known.get(f);
    if (pixel === undefined) {
      const colour = ofFunction(f);
      pixel = pack(matches ? (matches[f] ? c.match : mix(colour, c.ground, 0.68)) : colour);
      known.set(f, pixel);
    }
    return pixel;
  };
}

/** Pixel of a run of slivers, and of the ground. */
export const sliverPixel = (theme: "light" | "dark"): number => pack(mix(PALETTE[theme].other, PALETTE[theme].ground, 0.25));
export const groundPixel = (theme: "light" | "dark"): number => pack(PALETTE[theme].ground);
