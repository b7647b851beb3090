// Search: functions whose text matches, the rows that run them, and their share of the whole with nothing counted twice.
import { functionName, place, type Profile } from "./profile";
import type { Tree } from "./tree";

export interface Matches {
  /** Per function: does it match? */
  functions: Uint8Array;
  nFunctions: number;
  nRows: number;
  /** Total of the outermost matching rows. */
  mass: number;
}

/** Functions that hold every word of the query (`/…/` is a regular expression); case matters only where the query has capitals. */
export function matchFunctions(p: Profile, query: string, texts: () => readonly string[]): Uint8Array {
  const found = new Uint8Array(p.functions.name.length), test = tester(query);
  if (test) texts().forEach((text, f) => test(text) && (found[f] = 1));
  return found;
}

/** The text that a search looks at, one per function. */
export function functionTexts(p: Profile): string[] {
  return Array.from(p.functions.name, (_, f) => `${functionName(p, f)} ${p.strings.at(p.functions.module[f]!)} ${place(p, f)}`);
}

function tester(query: string): ((text: string) => boolean) | null {
  const typed = query.trim();
  if (!typed) return null;
  const any = /\p{Lu}/u.test(typed) ? "" : "i";
  if (typed.length > 2 && typed.startsWith("/") && typed.endsWith("/")) {
    try {
      const pattern = new RegExp(typed.slice(1, -1), any);
      return (text) => pattern.test(text);
    } catch {
      return () => false;
    }
  }
  const words = typed.split(/\s+/).map((w) => (any ? w.toLowerCase() : w));
  return (text) => {
    const t = any ? text.toLowerCase() : text;
    return words.every((w) => t.includes(w));
  };
}

/** Counts and weighs the rows whose function matches. */
export function weigh(tree: Tree, total: Float64Array, functionOf: (node: number) => number, functions: Uint8Array): Matches {
  const n = tree.parent.length, below = new Uint8Array(n), used = new Uint8Array(functions.length);
  let nRows = 0, mass = 0, nFunctions = 0;
  for (let i = 1; i < n; i++) {
    const f = functionOf(tree.node[i]!), own = f < 0 ? 0 : functions[f]!, above = below[tree.parent[i]!]!;
    if (own) {
      nRows++;
      if (!used[f]) { used[f] = 1; nFunctions++; }
      if (!above) mass += total[i]!;
    }
    below[i] = own | above;
  }
  return { functions, nFunctions, nRows, mass };
}
