// The same view on a later profile of the same program: what was chosen is found again by name, for rows and functions are numbered anew.
import { laneName, place } from "./profile";
import type { Pane, Session } from "./session.svelte";

export function carry(from: Session, to: Session): void {
  to.tab = from.tab === "advice" || (from.tab === "source" && !to.p.head.meta.sources.length) ? "flame" : from.tab;
  [to.level, to.order, to.side, to.colour, to.theme] = [from.level, from.order, from.side, from.colour, from.theme];
  [to.inverted, to.collapse, to.waiting, to.flame, to.help] = [from.inverted, from.collapse, from.waiting, from.flame, from.help];
  [to.query, to.range, to.line] = [from.query, from.range, from.line];
  if (to.p.head.metrics.some((m) => m.name === from.metric)) to.metric = from.metric;
  to.lane = from.lane < 0 ? from.lane : to.p.lanes.pid.findIndex((_, k) => laneName(to.p, k) === laneName(from.p, from.lane));
  const asked = new Set([from.focus, from.chosen, ...from.hidden].filter((f) => f >= 0).map((f) => functionKey(from, f)));
  const known = new Map<string, number>();
  if (asked.size) to.p.functions.name.forEach((_, f) => { const key = functionKey(to, f); if (asked.has(key)) known.set(key, f); });
  const again = (f: number): number => (f < 0 ? -1 : (known.get(functionKey(from, f)) ?? -1));
  to.focus = again(from.focus);
  to.chosen = again(from.chosen);
  to.hidden = from.hidden.map(again).filter((f) => f >= 0);
  to.zoom = row(from, from.zoom, to);
  to.selected = row(from, from.selected, to);
  if (from.tab !== "sandwich") return;
  for (const [old, now] of [[from.above, to.above], [from.below, to.below]] as const) now.zoomTo(row(old, old.zoom, now));
}

const functionKey = (s: Session, f: number): string => `${s.functionName(f)}\n${place(s.p, f)}`;

/** The row that the same names lead to from the root, or as far as they do. */
function row(from: Pane, at: number, to: Pane): number {
  const names: string[] = [], { parent } = from.view.tree, later = to.view.tree.parent;
  for (let r = Math.min(at, parent.length - 1); r > 0; r = parent[r]!) names.push(from.name(r));
  let found = 0;
  // A row stands behind its parent, so one way through finds them all.
  for (let r = 1; r < later.length && names.length; r++) if (later[r] === found && to.name(r) === names.at(-1)) { found = r; names.pop(); }
  return found;
}
