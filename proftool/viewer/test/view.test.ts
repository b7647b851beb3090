import { describe, expect, it } from "vitest";
import { read, write } from "../src/fragment";
import { functionValues, neighbours } from "../src/functions";
import type { Profile } from "../src/profile";
import { functionTexts, matchFunctions, weigh } from "../src/search";
import { people, percent, signed } from "../src/units";
import { APART, build, type Shape } from "../src/view";

// main → f → f → g, and main → g; f recurs.
function profile(): Profile {
  const texts = ["", "main", "f", "g", "app", "app.py", "lib"];
  const n = 3;
  return {
    head: { metrics: [{ name: "wall_time", unit: "ns", kind: "flow", mode: "sample" }, { name: "waiting_time", unit: "ns", kind: "flow", mode: "sample" }], meta: { reconstructed: false, passes: [] }, comparison: null },
    strings: { at: (i: number) => texts[i]! },
    functions: { name: Int32Array.of(1, 2, 3), qualname: Int32Array.of(1, 2, 3), module: Int32Array.of(4, 4, 6), file: Int32Array.of(5, 5, 0), first_line: new Int32Array(n), code_hash: new Int32Array(n), identified: new Uint8Array(n), kind: new Uint8Array(n), category: Uint8Array.of(0, 0, 1) },
    frames: { function: Int32Array.of(0, 1, 2), line: Int32Array.of(1, 2, 3) },
    nodes: { parent: Int32Array.of(-1, 0, 1, 2, 0), frame: Int32Array.of(0, 1, 1, 2, 2) },
    cells: { node: Int32Array.of(0, 1, 2, 3, 4, 4), lane: Int32Array.of(0, 0, 0, 0, 1, 1), metric: Int32Array.of(0, 0, 0, 0, 0, 1), value: Float64Array.of(1, 2, 4, 8, 16, 6) },
    samples: { time_ns: new Float64Array(0), node: new Int32Array(0), lane: new Int32Array(0), weight: new Float64Array(0), status: new Uint8Array(0) },
    edges: { caller: new Int32Array(0) }, intervals: { node: new Int32Array(0) }, hasLines: false, certainty: null, verdict: null,
  } as unknown as Profile;
}
const SHAPE: Shape = { metric: "wall_time", level: "function", lane: -1, inverted: false, order: "heavy", focus: -1, hidden: [], collapse: false, waiting: true, range: null, side: "union" };

describe("view", () => {
  const p = profile();
  it("counts recursion once in a function's total", () => {
    const { self, total } = functionValues(p, build(p, SHAPE));
    expect([...self]).toEqual([1, 6, 24]);
    expect([...total]).toEqual([31, 14, 24]);
  });
  it("folds waiting away and says how much", () => {
    const folded = build(p, { ...SHAPE, waiting: false });
    expect([folded.total[0], folded.foldedWaiting]).toEqual([25, 6]);
  });
  it("keeps the sum under every transformation", () => {
    for (const more of [{ hidden: [1] }, { collapse: true }, { level: "module" as const }, { inverted: true }, { level: "line" as const }]) expect(build(p, { ...SHAPE, ...more }).total[0]).toBe(31);
  });
  it("sets lanes side by side, each with its own sum", () => {
    const view = build(p, { ...SHAPE, lane: APART });
    expect([...view.tree.children.subarray(view.tree.first[0], view.tree.first[1])].map((r) => view.total[r])).toEqual([15, 16]);
    expect([...functionValues(p, view).total]).toEqual([31, 14, 24]);
  });
  it("takes one lane", () => expect(build(p, { ...SHAPE, lane: 1 }).total[0]).toBe(16));
  it("focuses on a function, outermost first", () => {
    const focused = build(p, { ...SHAPE, focus: 1 });
    expect(focused.total[0]).toBe(14);
  });
  it("lists callers and callees with no stack counted twice", () => {
    const near = neighbours(p, build(p, SHAPE), 1);
    expect(near.callers.map((c) => [c.function, c.value])).toEqual([[0, 14]]);
    expect(near.callees.map((c) => [c.function, c.value])).toEqual([[2, 8]]);
  });
  it("weighs matches without counting nested ones twice", () => {
    const view = build(p, SHAPE), found = matchFunctions(p, "F", () => functionTexts(p)), low = matchFunctions(p, "f", () => functionTexts(p));
    expect([...found]).toEqual([0, 0, 0]);
    expect([...low]).toEqual([0, 1, 0]);
    const m = weigh(view.tree, view.total, (node) => p.frames.function[p.nodes.frame[node]!]!, low);
    expect([m.nFunctions, m.nRows, m.mass]).toEqual([1, 2, 14]);
  });
  it("searches by pattern and survives a broken one", () => {
    expect([...matchFunctions(p, "/^[fg] /", () => functionTexts(p))]).toEqual([0, 1, 1]);
    expect([...matchFunctions(p, "/(/", () => functionTexts(p))]).toEqual([0, 0, 0]);
  });
});

describe("text", () => {
  it("writes quantities as the terminal does", () => {
    expect([people(1234567, "ns"), people(67108864, "bytes"), people(40000, "count"), signed(-5e6, "ns"), percent(1, 8), percent(1, 0)]).toEqual(["1.23 ms", "64.0 MiB", "40,000", "−5.00 ms", "12.5 %", "–"]);
  });
  it("keeps only what differs from the default in the fragment", () => {
    const defaults = { tab: "flame", q: "" };
    expect(write({ tab: "flame", q: "a b&c" }, defaults)).toBe("q=a+b%26c");
    expect(read("#q=a+b%26c&evil=1", defaults)).toEqual({ tab: "flame", q: "a b&c" });
  });
});
