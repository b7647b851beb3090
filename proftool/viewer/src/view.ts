// What the user asked to see -> a tree with values: level, lane, focus, hidden functions, library frames, direction, waiting, range.
import type { Order } from "./layout";
import { functionName, laneName, type Metric, place as placeOf, type Profile } from "./profile";
import { chart, invert, link, MERGE, plain, regroup, totals, type Tree } from "./tree";

/** `Shape.lane`: every lane merged, or each as a tree of its own. */
export const MERGED = -1;
export const APART = -2;
/** `Tree.node` of the row of lane k is `LANE - k`. */
export const LANE = -2;
/** Callers of what holds less than this part of all are not opened when the tree is turned over: the work stays bounded. */
export const LEAST_INVERTED = 1 / 20000;

export type Level = "function" | "line" | "module";
/** Everything that shapes the tree; colours, zoom and search do not. */
export interface Shape {
  metric: string;
  level: Level;
  /** A lane, MERGED or APART. */
  lane: number;
  inverted: boolean;
  order: Order;
  /** Function to stand at the root, or -1. */
  focus: number;
  hidden: readonly number[];
  collapse: boolean;
  waiting: boolean;
  /** ns since the start, or null for all. */
  range: readonly [number, number] | null;
  side: "union" | "before" | "after";
}
export interface View {
  shape: Shape;
  metric: Metric;
  tree: Tree;
  self: Float64Array;
  total: Float64Array;
  /** Both sides of a diff. */
  before: Float64Array | null;
  after: Float64Array | null;
  /** Of a diff: the part of the change in and below every row that is certain. */
  known: Float64Array | null;
  /** Rows of a tree turned over whose callers are not opened, and what they hold. */
  unopened: { rows: number; value: number } | null;
  /** Waiting part of every total, where the run knows it. */
  waiting: Float64Array | null;
  calls: Float64Array | null;
  /** Waiting that is folded away, in the metric's unit. */
  foldedWaiting: number;
  place: Int32Array;
}

export const baseMetrics = (p: Profile): Metric[] => {
  const seen = new Map<string, Metric>();
  for (const m of p.head.metrics) {
    const name = m.name.replace(/\.(before|after)$/, "");
    if (name !== "waiting_time" || p.head.metrics.length === 1) seen.set(name, seen.get(name) ?? { ...m, name });
  }
  return [...seen.values()];
};

/** Self values of a metric on the rows; null where the metric is not recorded. Cells are sorted by metric. */
function spread(p: Profile, name: string, place: Int32Array, rows: number, lane: number): Float64Array | null {
  const index = p.head.metrics.findIndex((m) => m.name === name);
  if (index < 0) return null;
  const out = new Float64Array(rows), { node, metric, value, lane: lanes } = p.cells;
  for (let k = 0; k < node.length; k++) {
    if (metric[k] !== index || (lane >= 0 && lanes[k] !== lane)) continue;
    const at = place[node[k]!]!;
    if (at >= 0) out[at]! += value[k]!;
  }
  return out;
}

function onRows(values: Float64Array, place: Int32Array, rows: number): Float64Array {
  const out = new Float64Array(rows);
  for (let i = 0; i < values.length; i++) if (values[i] && place[i]! >= 0) out[place[i]!]! += values[i]!;
  return out;
}

/** Self values from the timeline within a range: samples for time, allocations alive at its end for bytes. */
function ranged(p: Profile, metric: Metric, place: Int32Array, rows: number, lane: number, [from, to]: readonly [number, number]): Float64Array | null {
  const out = new Float64Array(rows);
  const add = (node: number, value: number): void => { const at = place[node]!; if (at >= 0) out[at]! += value; };
  const s = p.samples, v = p.intervals;
  if (metric.unit === "ns" && s.node.length) {
    for (let k = 0; k < s.node.length; k++) if (s.time_ns[k]! >= from && s.time_ns[k]! <= to && (lane < 0 || s.lane[k] === lane)) add(s.node[k]!, s.weight[k]!);
    return out;
  }
  if (metric.unit !== "ns" && v.node.length) {
    const per = metric.unit === "bytes" ? v.bytes : v.count;
    for (let k = 0; k < v.node.length; k++) {
      const start = v.start_ns[k]!, end = v.end_ns[k]!;
      if (start >= from && start <= to && (end < 0 || end > to) && (lane < 0 || v.lane[k] === lane)) add(v.node[k]!, per[k]!);
    }
    return out;
  }
  return null;
}

/** One copy of the tree a lane, of the rows that have a value there; `less` is taken off (waiting). Any number of lanes: only the rows of a lane are walked. */
function apart(p: Profile, tree: Tree, place: Int32Array, name: string, less: string | null): { tree: Tree; self: Float64Array } {
  const index = (of: string | null): number => p.head.metrics.findIndex((m) => m.name === of), add = index(name), take = index(less);
  const { node: at, lane, metric, value } = p.cells, byLane = new Map<number, number[]>();
  for (let k = 0; k < at.length; k++) {
    if (metric[k] !== add && (take < 0 || metric[k] !== take)) continue;
    const known = byLane.get(lane[k]!);
    if (known) known.push(k);
    else byLane.set(lane[k]!, [k]);
  }
  const up: number[] = [-1], node: number[] = [-1], self: number[] = [0], row = new Int32Array(tree.parent.length), owner = new Int32Array(tree.parent.length).fill(-1);
  let path: number[] = [];
  for (const own of [...byLane.keys()].sort((a, b) => a - b)) {
    row[0] = up.length;
    owner[0] = own;
    up.push(0); node.push(LANE - own); self.push(0);
    for (const k of byLane.get(own)!) {
      const start = place[at[k]!]!;
      if (start < 0) continue;
      path = [];
      for (let r = start; owner[r] !== own; r = tree.parent[r]!) path.push(r);
      for (let d = path.length - 1; d >= 0; d--) {
        const r = path[d]!;
        owner[r] = own;
        row[r] = up.length;
        up.push(row[tree.parent[r]!]!); node.push(tree.node[r]!); self.push(0);
      }
      self[row[start]!]! += metric[k] === add ? value[k]! : -value[k]!;
    }
  }
  return { tree: link(Int32Array.from(up), Int32Array.from(node)), self: Float64Array.from(self) };
}

export function build(p: Profile, shape: Shape): View {
  const { parent, frame } = p.nodes, fn = p.frames.function, f = p.functions;
  const functionOf = (i: number): number => fn[frame[i]!]!;
  const simple = shape.focus < 0 && !shape.hidden.length && !shape.collapse && shape.level !== "module" && (shape.level === "line" || !p.hasLines);
  const hidden = new Set(shape.hidden);
  const label = (i: number): number => {
    const own = functionOf(i);
    if (hidden.has(own)) return MERGE;
    const up = parent[i]!;
    if (shape.collapse && up >= 0 && f.category[own] !== 0 && f.category[functionOf(up)] !== 0 && f.kind[own] !== 4) return MERGE;
    if (shape.level === "module") {
      const module = f.module[own]!;
      return up >= 0 && f.module[functionOf(up)] === module ? MERGE : module;
    }
    return shape.level === "line" ? frame[i]! : own;
  };
  const grouped = simple ? plain(parent) : regroup(parent, label, shape.focus >= 0 ? (i) => functionOf(i) === shape.focus : undefined);
  let { tree } = grouped;
  const { place } = grouped, rows = tree.parent.length;
  const metric = baseMetrics(p).find((m) => m.name === shape.metric) ?? baseMetrics(p)[0] ?? { name: "none", unit: "count", kind: "flow", mode: "" };
  const of = (name: string): Float64Array | null => spread(p, name, place, rows, shape.lane);
  let before = of(`${metric.name}.before`), after = of(`${metric.name}.after`);
  let self = before && after ? (shape.side === "before" ? before.slice() : shape.side === "after" ? after.slice() : before.map((b, i) => Math.max(b, after![i]!))) : (of(metric.name) ?? new Float64Array(rows));
  if (shape.range) self = ranged(p, metric, place, rows, shape.lane, shape.range) ?? self;
  let waiting = metric.name === "wall_time" && !shape.range ? of("waiting_time") : null;
  let foldedWaiting = 0;
  if (waiting && !shape.waiting) {
    for (let i = 0; i < rows; i++) { foldedWaiting += waiting[i]!; self[i]! -= waiting[i]!; }
  }
  let known = before && after && p.known && p.head.comparison?.metric === metric.name ? onRows(p.known, place, rows) : null;
  let unopened: View["unopened"] = null;
  let calls = metric.name === "calls" ? null : of("calls");
  if (shape.order === "time" && p.samples.node.length && metric.unit === "ns" && !shape.inverted && !before) {
    const s = p.samples, range = shape.range;
    const timed = chart(place, tree, s, (k) => (shape.lane < 0 || s.lane[k] === shape.lane) && (!range || (s.time_ns[k]! >= range[0] && s.time_ns[k]! <= range[1])) && (shape.waiting || !(s.status[k]! & 1)));
    tree = timed.tree; self = timed.self; waiting = calls = null;
  }
  if (shape.lane === APART && !shape.range && !before && !shape.inverted && shape.order !== "time") {
    const lanes = apart(p, tree, place, metric.name, waiting && !shape.waiting ? "waiting_time" : null);
    tree = lanes.tree; self = lanes.self; waiting = calls = null;
  }
  if (shape.inverted) {
    const values = [self, before, after, known].filter((v) => v !== null);
    const turned = invert(tree, labels(p, tree, shape.level), values, LEAST_INVERTED);
    tree = turned.tree; self = turned.self[0]!; before = before && turned.self[1]!; after = after && turned.self[2]!; known = known && turned.self[3]!;
    unopened = turned.unopened.rows ? turned.unopened : null;
    waiting = calls = null;
  }
  const sum = (v: Float64Array | null): Float64Array | null => v && totals(tree, v);
  return { shape, metric, tree, self, total: totals(tree, self), before: sum(before), after: sum(after), known: sum(known), unopened, waiting: sum(waiting), calls, foldedWaiting, place };
}

export function rowFunction(p: Profile, tree: Tree, row: number): number {
  const node = tree.node[row]!;
  return node < 0 ? -1 : p.frames.function[p.nodes.frame[node]!]!;
}

export function rowName(p: Profile, view: { tree: Tree }, row: number, level: Level): string {
  const f = rowFunction(p, view.tree, row);
  if (f < 0) return row > 0 && view.tree.node[row]! <= LANE ? laneName(p, LANE - view.tree.node[row]!) : "all";
  if (level === "module") return p.strings.at(p.functions.module[f]!) || placeOf(p, f, 0) || functionName(p, f);
  const line = level === "line" ? p.frames.line[p.nodes.frame[view.tree.node[row]!]!]! : 0;
  return line > 0 ? `${functionName(p, f)}:${line}` : functionName(p, f);
}

/** The tree of callers of a function: row 0, the function, who called it, who called those; weighed by the function's totals, recursion once. */
export function callers(p: Profile, view: View, f: number): View {
  const { tree, total } = view, n = tree.parent.length, within = new Uint8Array(n), values = [view.total, view.before, view.after, view.known].map((v) => v && new Float64Array(n));
  const from = [total, view.before, view.after, view.known];
  for (let i = 1; i < n; i++) {
    const own = rowFunction(p, tree, i) === f, above = within[tree.parent[i]!]!;
    within[i] = own || above ? 1 : 0;
    if (own && !above) values.forEach((v, k) => { if (v) v[i] = from[k]![i]!; });
  }
  const level = view.shape.level, turned = invert(tree, labels(p, tree, level), values.filter((v) => v !== null), LEAST_INVERTED);
  const sums = turned.self.map((v) => totals(turned.tree, v)), diff = view.before !== null;
  return {
    ...view, tree: turned.tree, self: turned.self[0]!, total: sums[0]!, before: diff ? sums[1]! : null, after: diff ? sums[2]! : null, known: view.known && sums[3]!, waiting: null, calls: null,
    unopened: turned.unopened.rows ? turned.unopened : null,
  };
}

const labels = (p: Profile, tree: Tree, level: Level): ((row: number) => number) => {
  const frame = p.nodes.frame, fn = p.frames.function;
  if (level === "line") return (r) => frame[tree.node[r]!]!;
  if (level === "module") return (r) => p.functions.module[fn[frame[tree.node[r]!]!]!]!;
  return (r) => fn[frame[tree.node[r]!]!]!;
};
