// Which rectangles are on screen: level by level from the zoomed row, only those wider than a pixel; runs of slivers are one.
import type { Tree } from "./tree";

export type Order = "heavy" | "time" | "name";

/** Rectangles by level: those of level d are `start[d] .. start[d + 1]`, from left to right, in pixels of the canvas. */
export interface Layout {
  start: Int32Array;
  row: Int32Array;
  left: Float32Array;
  right: Float32Array;
  levels: number;
}
/** `row` of a rectangle that stands for neighbours too narrow to draw. */
export const SLIVER = -1;
export const LEAST_PX = 1;

class Grow {
  row = new Int32Array(4096);
  left = new Float32Array(4096);
  right = new Float32Array(4096);
  n = 0;
  push(row: number, left: number, right: number): void {
    if (this.n === this.row.length) {
      const bigger = <T extends Int32Array | Float32Array>(from: T, to: T): T => (to.set(from as never), to);
      this.row = bigger(this.row, new Int32Array(this.n * 2));
      this.left = bigger(this.left, new Float32Array(this.n * 2));
      this.right = bigger(this.right, new Float32Array(this.n * 2));
    }
    this.row[this.n] = row;
    this.left[this.n] = left;
    this.right[this.n++] = right;
  }
}

/** Sorts children when a row is first shown, and remembers it. */
export class Sorter {
  readonly #done: Uint8Array;
  constructor(readonly tree: Tree, readonly total: Float64Array, readonly order: Order, readonly name: (row: number) => string) {
    this.#done = new Uint8Array(tree.parent.length);
  }
  children(row: number): Int32Array {
    const { first, children } = this.tree;
    const part = children.subarray(first[row], first[row + 1]);
    if (!this.#done[row]) {
      this.#done[row] = 1;
      if (this.order === "heavy") part.sort((a, b) => this.total[b]! - this.total[a]! || a - b);
      else if (this.order === "name") part.sort((a, b) => (this.name(a) < this.name(b) ? -1 : 1));
      else part.sort();
    }
    return part;
  }
}

/** Lays out the subtree of `root` over `width` pixels, at most `levels` deep. */
export function layout(sorter: Sorter, root: number, width: number, levels = 4096): Layout {
  const { total, order } = sorter, grow = new Grow(), start = [0];
  const whole = total[root]!;
  if (whole > 0) grow.push(root, 0, width);
  start.push(grow.n);
  const scale = width / whole;
  for (let d = 1; d < levels; d++) {
    const from = start[d - 1]!, to = start[d]!;
    for (let k = from; k < to; k++) {
      const row = grow.row[k]!;
      if (row === SLIVER) continue;
      let x = grow.left[k]!;
      const children = sorter.children(row);
      let thin = -1;
      for (let c = 0; c < children.length; c++) {
        const child = children[c]!, w = total[child]! * scale;
        if (w <= 0) continue;
        if (w >= LEAST_PX) {
          if (thin >= 0 && x - thin >= 0.5) grow.push(SLIVER, thin, x);
          thin = -1;
          grow.push(child, x, x + w);
        } else {
          if (thin < 0) thin = x;
          // Heaviest first: all that follow are thinner still, so one rectangle ends the row.
          if (order === "heavy") {
            x += remaining(total, children, c) * scale;
            break;
          }
        }
        x += w;
      }
      if (thin >= 0 && x - thin >= 0.5) grow.push(SLIVER, thin, x);
    }
    start.push(grow.n);
    if (grow.n === to) break;
  }
  const n = grow.n;
  return { start: Int32Array.from(start), row: grow.row.subarray(0, n), left: grow.left.subarray(0, n), right: grow.right.subarray(0, n), levels: start.length - (start.at(-1) === start.at(-2) ? 2 : 1) };
}

function remaining(total: Float64Array, children: Int32Array, from: number): number {
  let sum = 0;
  for (let c = from; c < children.length; c++) sum += total[children[c]!]!;
  return sum;
}

/** Place of the rectangle at (level, x), or -1. */
export function hit(l: Layout, level: number, x: number): number {
  if (level < 0 || level >= l.levels) return -1;
  let low = l.start[level]!, high = l.start[level + 1]! - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (x < l.left[middle]!) high = middle - 1;
    else if (x >= l.right[middle]!) low = middle + 1;
    else return middle;
  }
  return -1;
}
