// The function table of a view, and its lines: self and total of each, recursion counted once.
import type { Profile } from "./profile";
import { ROOT } from "./schema";
import type { View } from "./view";

export interface FunctionValues { self: Float64Array; total: Float64Array }

/** Per function; a run of caller-callee pairs keeps its measured totals. */
export function functionValues(p: Profile, view: View): FunctionValues {
  const { tree } = view, n = tree.parent.length, fn = p.frames.function, frame = p.nodes.frame, count = p.functions.name.length;
  const self = new Float64Array(count), total = new Float64Array(count);
  const functionOf = (row: number): number => (tree.node[row]! < 0 ? count : fn[frame[tree.node[row]!]!]!);
  const enclosing = outermost(view, functionOf, count + 1);
  for (let i = 1; i < n; i++) {
    const f = functionOf(i);
    if (f === count) continue;
    self[f]! += view.self[i]!;
    if (enclosing[i]) total[f]! += view.total[i]!;
  }
  const e = p.edges;
  if (e.caller.length && p.head.meta.reconstructed && view.metric.mode === "trace" && view.shape.focus < 0) {
    if (view.metric.unit === "ns") {
      total.fill(0);
      for (let k = 0; k < e.caller.length; k++) if (e.caller[k] === ROOT && (view.shape.lane < 0 || e.lane[k] === view.shape.lane)) total[e.callee[k]!]! += e.total_ns[k]!;
    } else total.set(self);
  }
  return { self, total };
}

/** File -> line -> [own, with what it called]; several functions may share a line (a comprehension, a lambda), and a stack counts once for it. */
export function lineHeat(p: Profile, view: View): Map<string, Map<number, [number, number]>> {
  const { frames, functions, nodes, strings } = p, { tree } = view, count = frames.line.length;
  const known = new Map<string, number>(), place = new Int32Array(count + 1), heat = new Map<string, Map<number, [number, number]>>();
  for (let f = 0; f < count; f++) {
    const key = `${functions.file[frames.function[f]!]!}:${frames.line[f]!}`, found = known.get(key) ?? known.size;
    known.set(key, found);
    place[f] = found;
  }
  const frameOf = (row: number): number => (tree.node[row]! < 0 ? count : nodes.frame[tree.node[row]!]!);
  place[count] = known.size;
  const first = outermost(view, (row) => place[frameOf(row)]!, known.size + 1);
  for (let i = 1; i < tree.parent.length; i++) {
    const frame = frameOf(i);
    if (!view.total[i] || frame === count) continue;
    const file = strings.at(functions.file[frames.function[frame]!]!), line = frames.line[frame]!;
    const lines = heat.get(file) ?? new Map<number, [number, number]>(), told = lines.get(line) ?? [0, 0];
    told[0] += view.self[i]!;
    if (first[i]) told[1] += view.total[i]!;
    lines.set(line, told);
    heat.set(file, lines);
  }
  return heat;
}

/** 1 at rows without an ancestor of the same function: one walk in preorder with a counter per function. */
export function outermost(view: View, functionOf: (row: number) => number, functions: number): Uint8Array {
  const { first, children, parent } = view.tree, n = parent.length, result = new Uint8Array(n), open = new Int32Array(functions), next = first.slice(0, n);
  let at = 0;
  for (;;) {
    if (next[at]! < first[at + 1]!) {
      at = children[next[at]!++]!;
      if (open[functionOf(at)]!++ === 0) result[at] = 1;
    } else {
      if (at === 0) return result;
      open[functionOf(at)]!--;
      at = parent[at]!;
    }
  }
}

export interface Pair { function: number; value: number; calls: number }

/** Recorded callers and callees of a function, for runs that hold pairs. */
export function pairs(p: Profile, f: number): { callers: Pair[]; callees: Pair[] } {
  const e = p.edges, callers = new Map<number, Pair>(), callees = new Map<number, Pair>();
  const add = (into: Map<number, Pair>, key: number, k: number): void => {
    const pair = into.get(key) ?? { function: key, value: 0, calls: 0 };
    pair.value += e.total_ns[k]!;
    pair.calls += e.calls[k]!;
    into.set(key, pair);
  };
  for (let k = 0; k < e.caller.length; k++) {
    if (e.caller[k] === ROOT) continue;
    if (e.callee[k] === f) add(callers, e.caller[k]!, k);
    if (e.caller[k] === f) add(callees, e.callee[k]!, k);
  }
  const sorted = (m: Map<number, Pair>): Pair[] => [...m.values()].sort((a, b) => b.value - a.value);
  return { callers: sorted(callers), callees: sorted(callees) };
}

/** First-level callers and callees of a function in a tree of stacks. */
export function neighbours(p: Profile, view: View, f: number): { callers: Pair[]; callees: Pair[] } {
  if (p.edges.caller.length && p.head.meta.reconstructed) return pairs(p, f);
  const { tree, total } = view, fn = p.frames.function, frame = p.nodes.frame, callers = new Map<number, Pair>(), callees = new Map<number, Pair>();
  const functionOf = (row: number): number => (tree.node[row]! >= 0 ? fn[frame[tree.node[row]!]!]! : -1);
  const add = (into: Map<number, Pair>, key: number, value: number): void => {
    const pair = into.get(key) ?? { function: key, value: 0, calls: NaN };
    pair.value += value;
    into.set(key, pair);
  };
  // A stack counts once for a caller and once for a callee, however often `f` recurs in it.
  const below = new Int32Array(tree.parent.length).fill(-1);
  for (let i = 1; i < tree.parent.length; i++) {
    const up = tree.parent[i]!, own = functionOf(i);
    if (own === f && below[up] === -1) add(callers, functionOf(up), total[i]!);
    // Innermost callee so far: -1 not below f, -2 in f itself.
    below[i] = own === f ? -2 : below[up] === -2 ? own : below[up]!;
    if (below[up] === -2 && own !== f) {
      add(callees, own, total[i]!);
      for (let r = up; r > 0; r = tree.parent[r]!) {
        const above = tree.parent[r]!;
        if (below[r]! >= 0 && below[above] === -2) { add(callees, below[r]!, -total[i]!); break; }
      }
    }
  }
  const sorted = (m: Map<number, Pair>): Pair[] => [...m.values()].sort((a, b) => b.value - a.value);
  return { callers: sorted(callers), callees: sorted(callees) };
}
