import { describe, expect, it } from "vitest";
import { read, write } from "../src/fragment";
import { functionValues, lineHeat, neighbours } from "../src/functions";
import type { Profile } from "../src/profile";
import { functionTexts, matchFunctions, weigh } from "../src/search";
import { people, percent, signed } from "../src/units";
import { APART, build, callers, type Shape } from "../src/view";
import { diffColour, PALETTE } from "../src/colour";
import { editorUrl } from "../src/editor";

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
    edges: { caller: new Int32Array(0) }, intervals: { node: new Int32Array(0) }, hasLines: false, known: null, served: null,
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
  it("counts a line once in a stack, whichever functions share it", () => {
    const shared = profile();
    shared.frames.line = Int32Array.of(1, 2, 2); // g is written on the line of f
    shared.functions.file = Int32Array.of(5, 5, 5);
    const lines = lineHeat(shared, build(shared, SHAPE)).get("app.py")!;
    expect(lines.get(1)).toEqual([1, 31]);
    expect(lines.get(2)).toEqual([30, 30]);
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
  it("sets hundreds of lanes apart without losing any", () => {
    const many = profile(), n = 300, own = Array.from({ length: n }, (_, k) => k);
    many.cells = { node: Int32Array.from(own, (k) => k % 5), lane: Int32Array.from(own), metric: new Int32Array(n), value: Float64Array.from(own, (k) => k + 1) };
    const view = build(many, { ...SHAPE, lane: APART });
    expect(view.tree.first[1]! - view.tree.first[0]!).toBe(n);
    expect(view.total[0]).toBe((n * (n + 1)) / 2);
    // Node 3 is main → f → f → g: the lane, and four rows below it.
    expect([...view.tree.depth].filter((d) => d === 5).length).toBe(n / 5);
  });
  it("turns a function's callers up to the root, recursion once", () => {
    const up = callers(p, build(p, SHAPE), 2);
    expect([up.total[0], up.total[1]]).toEqual([24, 24]);
    const names = (row: number): [number, number][] => [...up.tree.children.subarray(up.tree.first[row], up.tree.first[row + 1])].map((r) => [p.frames.function[p.nodes.frame[up.tree.node[r]!]!]!, up.total[r]!]);
    expect(names(1).sort()).toEqual([[0, 16], [1, 8]]);
    expect(callers(p, build(p, SHAPE), 1).total[0]).toBe(14);
  });
  it("adds up what is known of a change wherever nodes are joined", () => {
    const d = profile();
    d.head.metrics = [{ name: "wall_time.before", unit: "ns", kind: "flow", mode: "sample" }, { name: "wall_time.after", unit: "ns", kind: "flow", mode: "sample" }] as never;
    d.head.comparison = { metric: "wall_time" } as never;
    d.known = Float64Array.of(0, 0, 0, 6, -2);
    for (const more of [{}, { hidden: [1] }, { inverted: true }, { level: "module" as const }]) expect(build(d, { ...SHAPE, ...more }).known![0]).toBe(4);
    expect(build(d, SHAPE).known![1]).toBe(4);
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

describe("colour", () => {
  it("is grey where nothing is known, vermilion for more, blue for less, stronger for a larger part", () => {
    const c = PALETTE.light;
    expect(diffColour(0, 10, 90, "light")).toBe(c.unknown);
    expect(diffColour(90, 0, 90, "light")).toEqual(c.more);
    expect(diffColour(-90, 90, 0, "light")).toEqual(c.less);
    expect(diffColour(1, 99, 100, "light")[2]).toBeGreaterThan(diffColour(40, 60, 100, "light")[2]);
  });
});

describe("editor", () => {
  const at = (meta: object, editor: string | null = null): Profile => ({ head: { editor, meta: { project_root: null, cwd: null, ...meta } } }) as unknown as Profile;
  it("makes paths absolute and escapes them", () => {
    expect(editorUrl(at({ project_root: "/home/me" }), "a b/c.py", 7)).toBe("vscode://file/home/me/a%20b/c.py:7");
    expect(editorUrl(at({}), "C:\\me\\c.py", 0)).toBe("vscode://file/C:/me/c.py:1");
    expect(editorUrl(at({ cwd: "/w" }, "idea://open?file={path}&line={line}"), "c.py", 2)).toBe("idea://open?file=/w/c.py&line=2");
  });
  it("has nothing to open where there is no file, and runs no script", () => {
    expect([editorUrl(at({}), "c.py", 1), editorUrl(at({}), "<string>", 1), editorUrl(at({}), "", 1), editorUrl(at({}, "javascript:alert({line})//{path}"), "/c.py", 1)]).toEqual(["", "", "", ""]);
  });
});
