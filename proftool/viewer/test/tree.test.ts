import { describe, expect, it } from "vitest";
import { hit, layout, SLIVER, Sorter } from "../src/layout";
import { chart, invert, MERGE, plain, regroup, totals } from "../src/tree";

// main ─ a ─ b, main ─ c ─ b, main ─ a' (another line of a)
const PARENT = Int32Array.of(-1, 0, 1, 0, 3, 0);
const LABEL = [0, 1, 2, 3, 2, 1];
const SELF = Float64Array.of(0, 1, 2, 4, 8, 16, 32);

describe("tree", () => {
  it("adds up totals without recursion, also a hundred thousand deep", () => {
    const { tree } = plain(PARENT);
    expect([...totals(tree, SELF)]).toEqual([63, 63, 6, 4, 24, 16, 32]);
    const deep = plain(Int32Array.from({ length: 100_000 }, (_, i) => i - 1)).tree;
    const ones = new Float64Array(100_001).fill(1);
    expect(totals(deep, ones)[0]).toBe(100_001);
  });
  it("lists children in row order", () => {
    const { tree } = plain(PARENT);
    expect([...tree.children.subarray(tree.first[1], tree.first[2])]).toEqual([2, 4, 6]);
    expect([...tree.depth]).toEqual([0, 1, 2, 3, 2, 3, 2]);
  });
  it("groups siblings of one label, and a hidden node joins its parent", () => {
    const grouped = regroup(PARENT, (i) => LABEL[i]!);
    expect([...grouped.place]).toEqual([1, 2, 3, 4, 5, 2]);
    const hidden = regroup(PARENT, (i) => (LABEL[i] === 1 ? MERGE : LABEL[i]!));
    expect([...hidden.place]).toEqual([1, 1, 2, 3, 4, 1]);
  });
  it("keeps only what lies below a start", () => {
    const { place, tree } = regroup(PARENT, (i) => LABEL[i]!, (i) => LABEL[i] === 2);
    expect([...place]).toEqual([-1, -1, 1, -1, 1, -1]);
    expect(tree.parent.length).toBe(2);
  });
  it("groups a hundred thousand labels under one parent", () => {
    const n = 100_000, { tree } = regroup(new Int32Array(n).fill(-1), (i) => i % 50_000);
    expect(tree.parent.length).toBe(50_001);
  });
  it("turns over with every sum kept", () => {
    const { tree } = plain(PARENT);
    const { tree: turned, self } = invert(tree, (r) => LABEL[r - 1]!, [SELF], 0);
    const total = totals(turned, self[0]!);
    expect(total[0]).toBe(63);
    const roots = [...turned.children.subarray(0, turned.first[1])].map((r) => [LABEL[turned.node[r]!], total[r]]);
    expect(roots).toEqual([[0, 1], [1, 34], [2, 20], [3, 8]]);
  });
  it("does not open what is too small, and keeps its value", () => {
    const { tree } = plain(PARENT);
    const { tree: turned, self } = invert(tree, (r) => LABEL[r - 1]!, [SELF], 0.5);
    expect(totals(turned, self[0]!)[0]).toBe(63);
    expect(Math.max(...turned.depth)).toBe(2);
  });
  it("sets samples beside one another in order of time", () => {
    const { tree, place } = plain(PARENT);
    const timed = chart(place, tree, { node: Int32Array.of(2, 2, 4, 2), weight: Float64Array.of(1, 1, 5, 3) }, () => true);
    expect([...timed.tree.node]).toEqual([-1, 0, 1, 2, 3, 4, 1, 2]);
    expect([...timed.self]).toEqual([0, 0, 0, 2, 0, 5, 0, 3]);
  });
});

describe("layout", () => {
  const { tree } = plain(PARENT), total = totals(tree, SELF);
  const sorter = new Sorter(tree, total, "heavy", String);
  it("puts the heaviest first and every child below its parent", () => {
    const l = layout(sorter, 0, 630);
    expect([...l.row.subarray(l.start[2], l.start[3])]).toEqual([6, 4, 2]);
    expect([...l.left.subarray(l.start[2], l.start[3])]).toEqual([0, 320, 560]);
    expect(l.levels).toBe(4);
  });
  it("lays out the zoomed row alone, over the whole width", () => {
    const l = layout(sorter, 4, 100);
    expect([l.row[0], l.left[0], l.right[0]]).toEqual([4, 0, 100]);
  });
  it("joins what is thinner than a pixel", () => {
    const many = plain(Int32Array.from({ length: 1001 }, (_, i) => (i ? 0 : -1))).tree, self = new Float64Array(1002).fill(1);
    self[0] = 0; self[1] = 0;
    const l = layout(new Sorter(many, totals(many, self), "heavy", String), 0, 500);
    expect([...l.row.subarray(l.start[2], l.start[3])]).toEqual([SLIVER]);
    expect(l.right[l.start[2]!]).toBeCloseTo(500);
  });
  it("finds the rectangle under a point", () => {
    const l = layout(sorter, 0, 630);
    expect(l.row[hit(l, 2, 330)]).toBe(4);
    expect(hit(l, 2, 625)).toBe(-1); // its own time
    expect(hit(l, 9, 1)).toBe(-1);
  });
});
