// What the user sees and chose, and what follows from it; components read it, the URL fragment mirrors it.
import type { ColourMode } from "./colour";
import { read, type Values, write } from "./fragment";
import { functionValues } from "./functions";
import { type Order, Sorter } from "./layout";
import { type Change, functionName, type Profile } from "./profile";
import { functionTexts, matchFunctions, weigh } from "./search";
import { APART, baseMetrics, build, callers, type Level, MERGED, rowFunction, rowName, type Shape, type View } from "./view";

export type Tab = "incident" | "flame" | "table" | "tree" | "sandwich" | "changes" | "source" | "advice" | "quality";
const TABS: readonly Tab[] = ["flame", "incident", "table", "tree", "sandwich", "changes", "source", "advice", "quality"];

/** A tree on a canvas, with its own zoom: the session's, or a half of the sandwich. */
export interface Pane {
  readonly view: View;
  readonly sorter: Sorter;
  /** Are the children of a row its callers? */
  readonly inverted: boolean;
  /** Is the root at the bottom? */
  readonly flame: boolean;
  zoom: number;
  selected: number;
  name(row: number): string;
  functionOf(row: number): number;
  zoomTo(row: number): void;
}

/** One half of the sandwich: the callers of the chosen function above it, or its callees below. */
class Half implements Pane {
  /** Row 1 is the function itself; row 0 would say the same again. */
  zoom = $state(1);
  selected = $state(1);
  view = $derived.by<View>(() => this.make());
  sorter = $derived.by(() => new Sorter(this.view.tree, this.view.total, "heavy", (row) => this.name(row)));
  constructor(readonly session: Session, readonly inverted: boolean, readonly make: () => View) {}
  get flame(): boolean {
    return this.inverted;
  }
  name(row: number): string {
    return rowName(this.session.p, this.view, row, this.view.shape.level);
  }
  functionOf(row: number): number {
    return row < this.view.tree.node.length ? rowFunction(this.session.p, this.view.tree, row) : -1;
  }
  zoomTo(row: number): void {
    this.zoom = this.selected = Math.max(1, row);
  }
}

export class Session {
  readonly p: Profile;
  readonly defaults: Values;
  tab = $state<Tab>("flame");
  metric = $state("");
  level = $state<Level>("function");
  lane = $state(-1);
  inverted = $state(false);
  order = $state<Order>("heavy");
  focus = $state(-1);
  hidden = $state.raw<readonly number[]>([]);
  collapse = $state(false);
  waiting = $state(false);
  range = $state.raw<readonly [number, number] | null>(null);
  side = $state<"union" | "before" | "after">("union");
  colour = $state<ColourMode>("category");
  flame = $state(false);
  query = $state("");
  zoom = $state(0);
  selected = $state(0);
  /** Function that the table and the side panel stand on. */
  chosen = $state(-1);
  /** Line that the source stands at, in the file of the chosen function; 0 = none. */
  line = $state(0);
  theme = $state<"light" | "dark">("light");
  help = $state(false);
  /** Do the tables that follow the first picture stand? */
  whole = $state(false);
  view = $derived.by<View>(() => this.#build());
  sorter = $derived.by(() => new Sorter(this.view.tree, this.view.total, this.order, (row) => this.name(row)));
  values = $derived.by(() => (this.whole, functionValues(this.p, this.view)));
  matched = $derived.by(() => (this.query.trim() ? matchFunctions(this.p, this.query, () => this.#texts()) : null));
  matches = $derived.by(() => this.matched && weigh(this.view.tree, this.view.total, (node) => (node < 0 ? -1 : this.p.frames.function[this.p.nodes.frame[node]!]!), this.matched));
  trail = $derived.by(() => {
    const rows: number[] = [];
    for (let r = Math.min(this.zoom, this.view.tree.parent.length - 1); r >= 0; r = this.view.tree.parent[r]!) rows.push(r);
    return rows.reverse();
  });
  /** Callers stand on one tree of all stacks, whatever the flame graph shows. */
  stacks = $derived.by<View>(() => {
    const { shape } = this.view;
    if (!shape.inverted && shape.focus < 0 && shape.order !== "time" && shape.lane !== APART) return this.view;
    return build(this.p, { ...shape, inverted: false, focus: -1, order: "heavy", lane: shape.lane === APART ? MERGED : shape.lane });
  });
  /** The function of the sandwich: the chosen one, else that with the largest self value. */
  middle = $derived.by(() => (this.chosen >= 0 ? this.chosen : this.values.self.reduce((best, v, f, all) => (v > (all[best] ?? 0) ? f : best), 0)));
  above = new Half(this, true, () => callers(this.p, this.stacks, this.middle));
  below = new Half(this, false, () => build(this.p, { ...this.stacks.shape, focus: this.middle }));
  /** What a diff says of each function. */
  readonly verdicts: ReadonlyMap<number, Change> | null;
  #knownTexts: string[] | null = null;

  constructor(p: Profile) {
    this.p = p;
    this.verdicts = p.head.comparison && new Map(p.head.comparison.functions.map((c) => [c.function, c]));
    const metrics = baseMetrics(p), asked = p.head.metric ?? p.head.comparison?.metric;
    const metric = metrics.find((m) => m.name === asked) ?? metrics.find((m) => m.name === "wall_time") ?? metrics.find((m) => m.name === "peak_bytes") ?? metrics[0];
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    this.defaults = {
      tab: p.head.incident ? "incident" : "flame", metric: metric?.name ?? "", level: "function", lane: "-1", inverted: "", order: "heavy", focus: "-1", hidden: "", collapse: "", waiting: "",
      range: "", side: "union", colour: p.head.comparison ? "diff" : "category", flame: "", q: "", zoom: "0", theme: dark ? "dark" : "light", chosen: "-1", line: "0",
    };
    this.restore(location.hash);
  }

  restore(fragment: string): void {
    const v = read(fragment, this.defaults), number = (text: string | undefined, least: number, end: number): number => { const n = Number(text); return Number.isInteger(n) && n >= least && n < end ? n : least; };
    const one = <T extends string>(text: string | undefined, allowed: readonly T[]): T => allowed.find((a) => a === text) ?? allowed[0]!;
    const functions = this.p.functions.name.length;
    this.tab = one(v["tab"], TABS);
    this.metric = baseMetrics(this.p).some((m) => m.name === v["metric"]) ? v["metric"]! : this.defaults["metric"]!;
    this.level = one(v["level"], ["function", "line", "module"]);
    this.order = one(v["order"], ["heavy", "time", "name"]);
    this.side = one(v["side"], ["union", "before", "after"]);
    this.colour = one(v["colour"], this.p.head.comparison ? ["diff", "category", "module", "plain"] : ["category", "module", "plain"]);
    this.theme = one(v["theme"], ["light", "dark"]);
    this.lane = v["lane"] === String(APART) ? APART : number(v["lane"], MERGED, this.p.lanes.pid.length);
    this.focus = number(v["focus"], -1, functions);
    this.chosen = number(v["chosen"], -1, functions);
    this.line = number(v["line"], 0, 2 ** 31);
    this.hidden = (v["hidden"] ?? "").split(".").filter(Boolean).map(Number).filter((f) => Number.isInteger(f) && f >= 0 && f < functions);
    this.inverted = v["inverted"] === "1";
    this.collapse = v["collapse"] === "1";
    this.waiting = v["waiting"] === "1";
    this.flame = v["flame"] === "1";
    this.query = v["q"] ?? "";
    const range = (v["range"] ?? "").split("-").map(Number);
    this.range = range.length === 2 && range.every(Number.isFinite) ? [range[0]!, range[1]!] : null;
    this.zoom = number(v["zoom"], 0, 2 ** 31);
    this.selected = this.zoom;
  }

  fragment(): string {
    const flag = (on: boolean): string => (on ? "1" : "");
    return write({
      tab: this.tab, metric: this.metric, level: this.level, lane: String(this.lane), inverted: flag(this.inverted), order: this.order, focus: String(this.focus),
      hidden: this.hidden.join("."), collapse: flag(this.collapse), waiting: flag(this.waiting), range: this.range?.map(Math.round).join("-") ?? "", side: this.side,
      colour: this.colour, flame: flag(this.flame), q: this.query, zoom: String(this.zoom), theme: this.theme, chosen: String(this.chosen), line: String(this.line),
    }, this.defaults);
  }

  /** Changes the shape of the tree; the zoom stays on the same function where it still exists. */
  reshape(change: () => void): void {
    const f = this.functionOf(this.zoom);
    change();
    let zoom = 0;
    if (f >= 0) for (let i = 1; i < this.view.tree.parent.length; i++) if (this.functionOf(i) === f && (!zoom || this.view.total[i]! > this.view.total[zoom]!)) zoom = i;
    this.zoom = this.selected = zoom;
  }

  zoomTo(row: number): void {
    this.zoom = this.selected = row;
    this.chosen = this.functionOf(row);
  }

  name(row: number): string {
    return rowName(this.p, this.view, row, this.view.shape.level);
  }

  functionOf(row: number): number {
    return row < this.view.tree.node.length ? rowFunction(this.p, this.view.tree, row) : -1;
  }

  functionName(f: number): string {
    return functionName(this.p, f);
  }

  /** On a page that a server made: where all below a row stands, what is folded here included; else empty. */
  moreUrl(tree: View["tree"], row: number): string {
    const { more } = this.p.head, node = tree.node[row]!, own = node < 0 ? -1 : (this.p.served?.[node] ?? -1);
    return more && own >= 0 ? `${more.url}?node=${own}` : "";
  }

  /** Puts a function in the middle of the sandwich. */
  sandwich(f: number): void {
    this.chosen = f;
    this.above.zoomTo(0);
    this.below.zoomTo(0);
    this.tab = "sandwich";
  }

  /** Shows a function where it is largest in the whole of a metric, whatever was filtered before. */
  reveal(f: number, metric: string | null): void {
    const waiting = metric === "waiting_time", name = waiting ? "wall_time" : metric;
    this.focus = this.lane = -1;
    [this.hidden, this.range, this.inverted, this.collapse] = [[], null, false, false];
    if (waiting) this.waiting = true;
    if (name && baseMetrics(this.p).some((m) => m.name === name)) this.metric = name;
    this.tab = "flame";
    this.zoomTo(this.rowOf(f));
  }

  /** Shows a line of a function's source. */
  showLine(f: number, line: number): void {
    this.chosen = f;
    this.line = line;
    this.tab = "source";
  }

  /** The row of a function with the largest total. */
  rowOf(f: number): number {
    let best = 0;
    const { total, tree } = this.view;
    for (let i = 1; i < tree.parent.length; i++) if (this.functionOf(i) === f && (!best || total[i]! > total[best]!)) best = i;
    return best;
  }

  #texts(): readonly string[] {
    return (this.#knownTexts ??= functionTexts(this.p));
  }

  #build(): View {
    const { metric, level, lane, inverted, order, focus, hidden, collapse, waiting, range, side } = this;
    const shape: Shape = { metric, level, lane, inverted, order, focus, hidden, collapse, waiting, range, side };
    if (order === "time" || range) void this.whole;
    return build(this.p, shape);
  }
}
