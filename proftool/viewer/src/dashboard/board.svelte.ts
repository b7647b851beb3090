// What an open page knows: its document, what was asked, and the keys that work on it; follow.svelte.ts asks again when something is new.
import { tick, untrack } from "svelte";
import { Follower } from "../follow.svelte";
import { type Ask, link } from "./links";

export interface Key { key: string; what: string; run?: (event: KeyboardEvent) => void }
export interface Problem { what: string; cause: string; fix: string }

const PLACES: Record<string, string> = { r: "/", s: "/services", t: "/traces", q: "/queries", a: "/alerts" };

export class Board<T = unknown> extends Follower {
  document = $state.raw<T>() as T;
  problem = $state.raw<Problem | null>(null);
  isLoading = $state(false);
  help = $state(false);
  theme = $state<"light" | "dark">("light");
  keys = $state.raw<Key[]>([]);
  #asked = 0;
  #going = false;

  constructor(document_: T) {
    super(() => this.refresh());
    this.document = document_;
    const set = window.document.documentElement.dataset["theme"];
    this.theme = set === "dark" || set === "light" ? set : matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    window.document.documentElement.dataset["theme"] = this.theme;
    addEventListener("popstate", () => void this.refresh());
    addEventListener("keydown", (event) => this.#press(event));
  }

  get ask(): URLSearchParams {
    return new URLSearchParams(location.search);
  }

  /** Change what is asked for; null takes a word away. The address bar follows. */
  async change(changes: Ask): Promise<void> {
    const query = this.ask;
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === undefined || value === "") query.delete(name);
      else query.set(name, String(value));
    }
    history.pushState(null, "", link(location.pathname, Object.fromEntries(query)) + location.hash);
    await this.refresh();
  }

  /** Ask for the document again; a later question wins. */
  async refresh(): Promise<void> {
    const turn = ++this.#asked;
    this.isLoading = true;
    const got = await fetched<T>(`/api${location.pathname}${location.search}`);
    if (turn !== this.#asked) return;
    this.isLoading = false;
    this.problem = got.problem;
    if (got.document !== null) this.document = got.document;
    await tick();
  }

  setTheme(theme: "light" | "dark"): void {
    this.theme = theme;
    document.documentElement.dataset["theme"] = theme;
    document.cookie = `theme=${theme}; path=/; max-age=31536000; samesite=strict`;
  }

  /** Keys of a view, as long as it is shown. */
  bind(keys: Key[]): () => void {
    const without = () => this.keys.filter((key) => !keys.includes(key));
    untrack(() => (this.keys = [...this.keys, ...keys]));
    return () => untrack(() => (this.keys = without()));
  }

  #press(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && (target as HTMLInputElement).type !== "checkbox";
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.key === "Escape" && this.help) this.help = false;
    else if (event.key === "Escape" && typing) target.blur();
    else if (typing || this.help) {
      if (event.key !== "?" || typing) return;
      this.help = false;
    } else if (this.#going) {
      this.#going = false;
      const place = PLACES[event.key];
      if (!place) return;
      location.assign(place);
    } else if (event.key === "g") this.#going = true;
    else if (event.key === "?") this.help = true;
    else if (event.key === "t") this.setTheme(this.theme === "dark" ? "light" : "dark");
    else if (event.key === "p" && this.feed !== "off") this.pause();
    else {
      const bound = this.keys.find((key) => key.run && key.key.split(" ").includes(event.key));
      if (bound) bound.run!(event);
      else if (event.key === "j" || event.key === "k") this.#step(event.key === "j" ? 1 : -1);
      else if (event.key === "/") (document.querySelector("[data-search]") as HTMLElement | null)?.focus();
      else return;
    }
    event.preventDefault();
  }

  #step(by: number): void {
    const rows = [...document.querySelectorAll<HTMLElement>("[data-row]")];
    const at = rows.indexOf(document.activeElement as HTMLElement);
    rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1)]?.focus();
  }
}

export interface Fetched<T> { document: T | null; problem: Problem | null }

/** A document, or what is wrong; never throws. */
export async function fetched<T>(url: string): Promise<Fetched<T>> {
  try {
    const answer = await fetch(url, { headers: { accept: "application/json" } });
    if (answer.headers.get("content-type")?.startsWith("application/json")) {
      const body = (await answer.json()) as T & { error?: Problem };
      return body.error && !answer.ok ? { document: null, problem: body.error } : { document: body, problem: null };
    }
    const cause = answer.status === 401 ? "this address has lost its token" : `the server answered ${answer.status}`;
    return { document: null, problem: { what: "this view cannot be shown", cause, fix: "open the address that `proftool serve` printed" } };
  } catch {
    return { document: null, problem: { what: "the server does not answer", cause: "`proftool serve` has ended, or is ending", fix: "start it again; this page goes on by itself" } };
  }
}
