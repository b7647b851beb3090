// The tree that is on screen: row 0 is all, parents precede children, siblings never share a label.
// Built from the profile's nodes by one regrouping pass; totals are one reverse pass. 1M nodes: about 60 ms with hashing, 10 without.

export interface Tree {
  /** -1 for row 0. */
  parent: Int32Array;
  /** A node of the profile that stands for the row: its frame names it. -1 for row 0. */
  node: Int32Array;
  depth: Int32Array;
  /** Children of i are `children[first[i] .. first[i + 1]]`. */
  first: Int32Array;
  children: Int32Array;
}

export const DROP = -2;
export const MERGE = -1;

/** An open-addressing map from (row, label) to row; grows by doubling. */
class Pairs {
  #keys: Float64Array;
  #values: Int32Array;
  #mask: number;
  #size = 0;
  constructor(expected: number) {
    let capacity = 1024;
    while (capacity < expected * 2) capacity *= 2;
    this.#keys = new Float64Array(capacity).fill(-1);
    this.#values = new Int32Array(capacity);
    this.#mask = capacity - 1;
  }
  /** The value of the key, or `fresh` stored under it. */
  get(row: number, label: number, fresh: number): number {
    const key = row * 4294967296 + label;
    let at = (Math.imul(row, 0x9e3779b1) ^ Math.imul(label + 1, 0x85ebca6b)) >>> 0;
    at = (at ^ (at >>> 15)) & this.#mask;
    for (;;) {
      const known = this.#keys[at]!;
      if (known === key) return this.#values[at]!;
      if (known === -1) break;
      at = (at + 1) & this.#mask;
    }
    this.#keys[at] = key;
    this.#values[at] = fresh;
    if (++this.#size * 2 > this.#mask) this.#grow();
    return fresh;
  }
  #grow(): void {
    const keys = this.#keys, values = this.#values;
    this.#mask = keys.length * 2 - 1;
    this.#keys = new Float64Array(keys.length * 2).fill(-1);
    this.#values = new Int32Array(keys.length * 2);
    this.#size = 0;
    for (let i = 0; i < keys.length; i++) if (keys[i] !== -1) this.get(Math.floor(keys[i]! / 4294967296), keys[i]! % 4294967296, values[i]!);
  }
}

/** Depths and children of a parent column. */
export function link(parent: Int32Array, node: Int32Array): Tree {
  const n = parent.length;
  const depth = new Int32Array(n), first = new Int32Array(n + 1), children = new Int32Array(Math.max(n - 1, 0));
  for (let i = 1; i < n; i++) {
    depth[i] = depth[parent[i]!]! + 1;
    first[parent[i]! + 1]!++;
  }
  for (let i = 0; i < n; i++) first[i + 1]! += first[i]!;
  // Filled from the back, so that `first` ends where it must start and no second array of places is needed.
  for (let i = 1; i < n; i++) first[parent[i]!]!++;
  for (let i = n - 1; i > 0; i--) children[--first[parent[i]!]!] = i;
  return { parent, node, depth, first, children };
}

/** The profile's own nodes below a row 0, where no two siblings would share a label: nothing to hash. */
export function plain(parent: Int32Array): { tree: Tree; place: Int32Array } {
  const n = parent.length;
  const up = new Int32Array(n + 1), node = new Int32Array(n + 1), place = new Int32Array(n);
  up[0] = node[0] = -1;
  for (let i = 0; i < n; i++) {
    up[i + 1] = parent[i]! + 1;
    node[i + 1] = i;
    place[i] = i + 1;
  }
  return { tree: link(up, node), place };
}

/**
 * Regroups nodes by label: `label(i, up)` is a label, MERGE (join the parent) or DROP (with all below, until `starts`).
 * With `starts`, only what lies at or below nodes that start is kept; the outermost of them hang below row 0.
 */
export function regroup(parent: Int32Array, label: (i: number) => number, starts?: (i: number) => boolean): { tree: Tree; place: Int32Array } {
  const n = parent.length, place = new Int32Array(n), pairs = new Pairs(Math.min(n, 1 << 20));
  const up = new Int32Array(n + 1), node = new Int32Array(n + 1);
  up[0] = node[0] = -1;
  let rows = 1;
  for (let i = 0; i < n; i++) {
    const p = parent[i]!;
    let row = p < 0 ? (starts ? -1 : 0) : place[p]!;
    if (row < 0 && starts?.(i)) row = 0;
    if (row < 0) { place[i] = -1; continue; }
    const own = label(i);
    if (own === MERGE) { place[i] = row; continue; }
    if (own === DROP) { place[i] = -1; continue; }
    const found = pairs.get(row, own, rows);
    if (found === rows) { up[rows] = row; node[rows] = i; rows++; }
    place[i] = found;
  }
  return { tree: link(up.slice(0, rows), node.slice(0, rows)), place };
}

/** Inclusive values: a node's own plus those of all below it. */
export function totals(tree: Tree, self: Float64Array): Float64Array {
  const total = self.slice();
  for (let i = total.length - 1; i > 0; i--) total[tree.parent[i]!]! += total[i]!;
  return total;
}

/**
 * The tree turned over: roots are where `values` lies, children their callers.
 * Opened level by level; what is below `least` of all values is not opened further, so the work stays bounded.
 */
export function invert(tree: Tree, label: (row: number) => number, values: Float64Array[], least: number): { tree: Tree; self: Float64Array[]; unopened: { rows: number; value: number } } {
  let rows: number[] = [], group: number[] = [];
  const up: number[] = [-1], node: number[] = [-1], out = values.map(() => [0]), weight: number[] = [0];
  const main = values[0]!;
  let whole = 0;
  const unopened = { rows: 0, value: 0 };
  for (let i = 1; i < main.length; i++) if (values.some((v) => v[i] !== 0)) { rows.push(i); group.push(0); whole += main[i]!; }
  let origin = rows;
  while (rows.length) {
    const pairs = new Pairs(rows.length);
    const nextRows: number[] = [], nextGroup: number[] = [], nextOrigin: number[] = [], places = new Int32Array(rows.length);
    for (let k = 0; k < rows.length; k++) {
      const at = rows[k]!, found = pairs.get(group[k]!, label(at), up.length);
      if (found === up.length) { up.push(group[k]!); node.push(tree.node[at]!); weight.push(0); for (const o of out) o.push(0); }
      weight[found]! += main[origin[k]!]!;
      places[k] = found;
    }
    for (let k = 0; k < rows.length; k++) {
      const found = places[k]!, above = tree.parent[rows[k]!]!;
      if (above > 0 && weight[found]! >= whole * least) { nextRows.push(above); nextGroup.push(found); nextOrigin.push(origin[k]!); }
      else {
        if (above > 0) { unopened.rows++; unopened.value += main[origin[k]!]!; }
        for (let v = 0; v < values.length; v++) out[v]![found]! += values[v]![origin[k]!]!;
      }
    }
    rows = nextRows; group = nextGroup; origin = nextOrigin;
  }
  return { tree: link(Int32Array.from(up), Int32Array.from(node)), self: out.map((o) => Float64Array.from(o)), unopened };
}

/** Samples one after the other as a tree: a context that is left and entered again is two rows. Children stand in order of time. */
export function chart(place: Int32Array, base: Tree, samples: { node: Int32Array; weight: Float64Array }, keep: (k: number) => boolean): { tree: Tree; self: Float64Array } {
  const up: number[] = [-1], node: number[] = [-1], self: number[] = [0];
  let stack: number[] = [];
  const open: number[] = [];
  for (let k = 0; k < samples.node.length; k++) {
    const row = place[samples.node[k]!]!;
    if (row <= 0 || !keep(k)) continue;
    const path: number[] = [];
    for (let r = row; r > 0; r = base.parent[r]!) path.push(r);
    path.reverse();
    let same = 0;
    while (same < path.length && path[same] === stack[same]) same++;
    open.length = same;
    for (let d = same; d < path.length; d++) {
      up.push(d ? open[d - 1]! : 0); node.push(base.node[path[d]!]!); self.push(0);
      open.push(up.length - 1);
    }
    self[open.at(-1)!]! += samples.weight[k]!;
    stack = path;
  }
  return { tree: link(Int32Array.from(up), Int32Array.from(node)), self: Float64Array.from(self) };
}
