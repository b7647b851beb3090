// Draws a layout into a canvas: one line of pixels per level, repeated to its height (a memcpy), then the names that fit.
// A full window costs about 4 ms, whatever the number of rectangles; a fillRect each took ten times as long.
import { type Layout, SLIVER } from "./layout";

export interface Picture {
  layout: Layout;
  /** Height of a level, canvas pixels. */
  rowPx: number;
  /** Canvas pixels scrolled off the near end. */
  scrollPx: number;
  /** Root at the bottom. */
  flame: boolean;
  pixel: (row: number) => number;
  name: (row: number) => string;
  sliver: number;
  ground: number;
  ink: string;
  font: string;
  scale: number;
}

/** Top of a level in canvas pixels. */
export function levelTop(p: Pick<Picture, "rowPx" | "scrollPx" | "flame">, level: number, height: number): number {
  return p.flame ? height - (level + 1) * p.rowPx + p.scrollPx : level * p.rowPx - p.scrollPx;
}

/** The last picture's memory, used again while the size stays. */
let kept: ImageData | null = null;

export function paint(context: CanvasRenderingContext2D, p: Picture): void {
  const { width, height } = context.canvas, { layout, rowPx } = p;
  if (kept?.width !== width || kept.height !== height) kept = context.createImageData(width, height);
  const image = kept, pixels = new Uint32Array(image.data.buffer);
  pixels.fill(p.ground);
  const firstLevel = Math.max(0, Math.floor(p.scrollPx / rowPx)), last = Math.min(layout.levels, Math.ceil((p.scrollPx + height) / rowPx));
  const line = new Uint32Array(width);
  for (let level = firstLevel; level < last; level++) {
    line.fill(p.ground);
    for (let k = layout.start[level]!; k < layout.start[level + 1]!; k++) {
      const row = layout.row[k]!, left = Math.round(layout.left[k]!), right = Math.round(layout.right[k]!);
      // A gap of a pixel between neighbours, where they are wide enough to spare one.
      const to = right - left > 3 ? right - 1 : Math.max(right, left + 1);
      line.fill(row === SLIVER ? p.sliver : p.pixel(row), left, to);
    }
    const top = levelTop(p, level, height), y0 = Math.max(0, Math.round(top)), y1 = Math.min(height, Math.round(top + rowPx) - 1);
    for (let y = y0; y < y1; y++) pixels.set(line, y * width);
  }
  context.putImageData(image, 0, 0);
  context.font = p.font;
  context.textBaseline = "middle";
  context.fillStyle = p.ink;
  const pad = 4 * p.scale, widths = charWidths(context);
  for (let level = firstLevel; level < last; level++) {
    const middle = levelTop(p, level, height) + rowPx / 2;
    for (let k = layout.start[level]!; k < layout.start[level + 1]!; k++) {
      const row = layout.row[k]!, room = layout.right[k]! - layout.left[k]! - 2 * pad;
      if (row === SLIVER || room < 14 * p.scale) continue;
      const text = fit(p.name(row), room, widths);
      if (text) context.fillText(text, layout.left[k]! + pad, middle);
    }
  }
}

const known = new Map<string, Float32Array>();
/** Widths of the printable ASCII characters, measured once per font; others count as the widest. */
function charWidths(context: CanvasRenderingContext2D): Float32Array {
  let widths = known.get(context.font);
  if (!widths) {
    widths = Float32Array.from({ length: 128 }, (_, code) => (code < 32 ? 0 : context.measureText(String.fromCharCode(code)).width));
    known.set(context.font, widths);
  }
  return widths;
}

/** The text, or as much of it as fits with an ellipsis; empty where fewer than two letters would. */
export function fit(text: string, room: number, widths: Float32Array): string {
  const wide = widths[87] ?? 10, dots = widths[46]! * 3;
  let used = 0, cut = -1;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    used += code < 128 ? widths[code]! : wide;
    if (cut < 0 && used + dots > room) cut = i;
    if (used > room) return cut < 2 ? "" : `${text.slice(0, cut)}…`;
  }
  return text;
}
