// The profile as the page holds it: the model's columns as typed arrays, plus the head. Nothing here touches the DOM.
import { type Column, type Numbers, Strings, type Text, fromBase64, streams, unpack, unpackStrings } from "./codec";
import type { Incident } from "./incident";
import { COLUMNS, type Tables, type Unit, type Verdict } from "./schema";

export interface Metric { name: string; unit: Unit; kind: "flow" | "stock"; mode: string }
export interface Pass {
  mode: string; backend: string; backend_version: string | null; clock: string | null;
  rate_asked_hz: number | null; rate_achieved_hz: number | null; samples: number | null; missed: number | null;
  errors: number | null; overhead_ns: number | null; duration_ns: number | null; cpu_ns: number | null; exit_status: number | null;
  started_ns: number | null; features: string[]; unseen: string[]; notes: string[]; complete: boolean | null; attached: boolean;
}
export interface Meta {
  passes: Pass[]; command: string[] | null; cwd: string | null; project_root: string | null; python: string | null; host: string | null; machine: string | null;
  git: { commit: string; branch: string | null; dirty: boolean | null } | null;
  quality: { verdict: "good" | "weak" | "poor"; reasons: string[] } | null;
  lost: string[]; reconstructed: boolean; source: string | null; sources: [string, string][];
}
/** One function of a diff, as model.diff.FunctionChange. */
export interface Change {
  function: number; base_self: number; new_self: number; base_total: number; new_total: number;
  low: number | null; high: number | null; q: number | null; verdict: Verdict; weak: boolean; moved_from: string | null;
  more_calls: number | null; dearer_calls: number | null;
}
export interface Comparison {
  metric: string; base: string; new: string; base_runs: number; new_runs: number; base_total: number; new_total: number;
  comparable: string; reasons: string[]; functions: Change[]; explained_share: number | null; explanation: string;
}
/** What a rule of advice found, as model.insight.Insight. */
export interface Insight {
  id: string; function: string; file: string | null; line: number | null; confidence: "low" | "medium" | "high"; share: number;
  evidence: string; advice: string; link: string; metric: string | null; effect: string | null;
}
export interface Head {
  schema: string; title: string; metric: string | null; metrics: Metric[]; meta: Meta; strings: Text; columns: Column[];
  folded: { nodes_before: number; nodes_after: number; mass: Record<string, number> } | null; thinned: string[]; comparison: Comparison | null;
  editor: string | null; more: { url: string; under: string[] } | null; incident: Incident | null; insights: Insight[];
  /** Of a recording that goes on: another text whenever the page's address answers with more. */
  under_way: string | null;
}

/** What one run, or the two sides of a diff, recorded. */
export interface Profile extends Tables {
  head: Head;
  strings: Strings;
  /** Per node of a diff: the certain part of its own change, signed, in the metric's unit. */
  known: Float64Array | null;
  /** Per node of a page that a server made: the node of the whole run, of “(n others)” their caller. */
  served: Int32Array | null;
  /** Do two frames of one function exist anywhere? If not, the line tree is the function tree. */
  hasLines: boolean;
}

const FIRST: readonly (keyof Tables)[] = ["functions", "frames", "nodes", "lanes", "cells"];

/** Decodes what the first picture needs; `rest` brings the other tables in later. */
export async function load(head: Head, base64: string): Promise<{ profile: Profile; rest: () => Promise<void> }> {
  if (head.schema !== "proftool.page/1") throw new Error(`this page holds ${head.schema}, which its viewer does not read`);
  const bytes = fromBase64(base64);
  const offset = head.strings.lengths.size + head.strings.size;
  const found = streams(head.columns, bytes.subarray(offset));
  const column = async (name: string): Promise<Numbers> => {
    const entry = found.get(name);
    if (!entry) throw new Error(`the page lacks the column ${name}`);
    return unpack(...entry);
  };
  const profile = { head, known: null, served: null } as unknown as Profile;
  const table = async (name: keyof Tables): Promise<void> => {
    const columns = await Promise.all(COLUMNS[name].map((c) => column(`${name}.${c}`)));
    (profile as unknown as Record<string, unknown>)[name] = Object.fromEntries(COLUMNS[name].map((c, i) => [c, columns[i]!]));
  };
  const strings = unpackStrings(head.strings, bytes.subarray(0, offset));
  await Promise.all(FIRST.map(table));
  profile.strings = await strings;
  if (found.has("diff.known")) profile.known = (await column("diff.known")) as Float64Array;
  if (found.has("served.node")) profile.served = (await column("served.node")) as Int32Array;
  profile.hasLines = hasLines(profile.frames.function, profile.functions.name.length);
  const later = (Object.keys(COLUMNS) as (keyof Tables)[]).filter((name) => !FIRST.includes(name));
  for (const name of later) (profile as unknown as Record<string, unknown>)[name] = Object.fromEntries(COLUMNS[name].map((c) => [c, new Float64Array(0)]));
  return { profile, rest: async () => void (await Promise.all(later.map(table))) };
}

function hasLines(functionOf: Int32Array, functions: number): boolean {
  const seen = new Uint8Array(functions);
  for (const f of functionOf) {
    if (seen[f]) return true;
    seen[f] = 1;
  }
  return false;
}

/** The name people read of a function. */
export function functionName(p: Profile, f: number): string {
  return p.strings.at(p.functions.qualname[f]!) || p.strings.at(p.functions.name[f]!) || "(no name)";
}

/** The function that an insight names, of several the last that begins before its line; -1 where it is not on the page. */
export function functionAt(p: Profile, insight: Insight): number {
  let found = -1;
  for (let f = 0; f < p.functions.qualname.length; f++) {
    if (p.strings.at(p.functions.qualname[f]!) !== insight.function || p.strings.at(p.functions.file[f]!) !== (insight.file ?? "")) continue;
    const first = p.functions.first_line[f]!;
    if (found < 0 || (first <= (insight.line ?? 0) && first > p.functions.first_line[found]!)) found = f;
  }
  return found;
}

/** `file:line` of a function, the line given or that of its `def`; empty where unknown. */
export function place(p: Profile, f: number, line = p.functions.first_line[f]!): string {
  const file = p.strings.at(p.functions.file[f]!);
  return file ? (line > 0 ? `${file}:${line}` : file) : "";
}

/** A lane for people: process, thread, task. */
export function laneName(p: Profile, lane: number): string {
  const l = p.lanes, text = (i: number) => p.strings.at(i);
  const process = text(l.process_name[lane]!) || (l.pid[lane]! >= 0 ? `process ${l.pid[lane]}` : "");
  const thread = text(l.thread_name[lane]!) || (l.tid[lane]! >= 0 ? `thread ${l.tid[lane]}` : "");
  return [process, thread, text(l.task[lane]!)].filter(Boolean).join(" · ") || `lane ${lane + 1}`;
}

/** Does the function stand for frames that are not in the page: “(n others)”? */
export const isOthers = (p: Profile, f: number): boolean => f >= 0 && p.functions.kind[f] === 4 && /^\([\d,]+ others?\)$/.test(functionName(p, f));
