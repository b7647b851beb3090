// Follows a server's events (`/events`) and asks again when something is new; pausing holds the page still, and then nothing is asked for.
import { untrack } from "svelte";

const RETRY_MS = 5000;
const LEAST_REST_MS = 2000;
/** Between two looks that events cause, as a multiple of what the last one took: a page that follows never asks for more than a fifth of the server. */
const REST = 4;

export class Follower {
  isPaused = $state(false);
  /** `off` where the view never changes by itself. */
  feed = $state<"off" | "joining" | "live" | "lost">("off");
  told = $state("");
  #source: EventSource | null = null;
  #events: string[] = [];
  #due = false;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #next: ReturnType<typeof setTimeout> | undefined;
  #restUntil = 0;
  #onEvent: () => void | Promise<void>;
  readonly #refresh: () => void | Promise<void>;

  constructor(refresh: () => void | Promise<void>) {
    this.#onEvent = this.#refresh = refresh;
    addEventListener("visibilitychange", () => this.#join());
    addEventListener("pagehide", () => this.#leave());
    addEventListener("pageshow", () => this.#join());
  }

  /** Follow these events of the server; `onEvent` stands in for a refresh. */
  follow(events: string[], onEvent = this.#refresh): void {
    this.#onEvent = onEvent;
    if (events.join() === this.#events.join()) return;
    this.#events = events;
    untrack(() => {
      this.#leave();
      if (events.length) this.#join();
      else this.feed = "off";
    });
  }

  pause(): void {
    this.isPaused = !this.isPaused;
    this.told = this.isPaused ? "paused" : "live";
    if (!this.isPaused && this.#due) this.#arrived();
  }

  #join(): void {
    if (!this.#events.length) return;
    if (document.hidden) return this.#leave();
    if (this.#source) return;
    clearTimeout(this.#retry);
    this.feed = "joining";
    const source = (this.#source = new EventSource("/events"));
    let before = false;
    source.addEventListener("hello", () => {
      // What came while nobody listened is made good.
      if (before || this.feed === "lost") this.#arrived();
      before = true;
      this.feed = "live";
    });
    source.addEventListener("error", () => {
      this.feed = "lost";
      // The browser tries again by itself, but not after a refusal.
      if (source.readyState !== EventSource.CLOSED) return;
      this.#source = null;
      this.#retry = setTimeout(() => this.#join(), RETRY_MS);
    });
    for (const name of this.#events) source.addEventListener(name, () => this.#arrived());
  }

  #leave(): void {
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#next);
    this.#next = undefined;
  }

  /** At once after a rest, and never while the last answer is still awaited: events come faster than a large store answers. */
  #arrived(): void {
    this.#due = true;
    if (this.isPaused || this.#next !== undefined) return;
    this.#next = setTimeout(() => void this.#look(), Math.max(this.#restUntil - performance.now(), 0));
  }

  async #look(): Promise<void> {
    this.#due = this.isPaused;
    if (!this.isPaused) {
      const begin = performance.now();
      await this.#onEvent();
      const end = performance.now();
      this.#restUntil = end + Math.max(REST * (end - begin), LEAST_REST_MS);
    }
    this.#next = undefined;
    if (this.#due && !this.isPaused) this.#arrived();
  }
}
