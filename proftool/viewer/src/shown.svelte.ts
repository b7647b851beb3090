// What the page shows: one session, or of a recording that goes on the newest, in the view that was chosen on the one before.
import { carry } from "./carry";
import { Follower } from "./follow.svelte";
import { type Head, load } from "./profile";
import { Session } from "./session.svelte";

export class Shown extends Follower {
  session = $state.raw<Session>() as Session;
  /** `ended`: its run is not stored yet. */
  state = $state<"whole" | "in progress" | "ended">("whole");

  constructor(session: Session) {
    super(() => this.#again());
    this.session = session;
    if (session.p.head.under_way === null) return;
    this.state = "in progress";
    // Asking for the page asks for more, too: an event that was lost is made good by the next tick.
    this.follow(["progress", "runs", "tick"]);
  }

  /** The page as it is now: with more of the recording, or of the run that it has become. */
  async #again(): Promise<void> {
    try {
      const answer = await fetch(location.pathname + location.search);
      if (answer.status === 404) this.state = "ended";
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html"), block = (id: string): string => page.getElementById(id)?.textContent ?? "";
      const told = block("head");
      if (!told) return; // another pass of the same run, which tells at its end
      const head = JSON.parse(told) as Head;
      if (head.under_way === this.session.p.head.under_way) return;
      const { profile, rest } = await load(head, block("body"));
      await rest();
      if (this.isPaused) return;
      const next = new Session(profile);
      next.whole = true;
      carry(this.session, next);
      this.session = next;
      this.state = head.under_way === null ? "whole" : "in progress";
      if (this.state === "whole") this.follow([]);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      // The server is away; the stream tells when it is back.
    }
  }
}
