// Puts a view on its page: what to show stands in the page already.
import { type Component, mount } from "svelte";
import "uplot/dist/uPlot.min.css";
import "../tokens.css";
import Alerts from "./Alerts.svelte";
import Compare from "./Compare.svelte";
import Queries from "./Queries.svelte";
import Service from "./Service.svelte";
import Services from "./Services.svelte";
import Status from "./Status.svelte";
import Trace from "./Trace.svelte";
import Traces from "./Traces.svelte";
import TracesCompared from "./TracesCompared.svelte";
import { Board } from "./board.svelte";
import "./dashboard.css";

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- each view knows its own document
const VIEWS: Record<string, Component<{ board: Board<any> }>> = {
  services: Services, service: Service, compare: Compare, traces: Traces, trace: Trace, tracesCompared: TracesCompared, queries: Queries, alerts: Alerts,
};

function start(): void {
  const target = document.getElementById("view");
  const block = document.getElementById("document");
  const board = new Board<unknown>(block ? JSON.parse(block.textContent ?? "null") : null);
  block?.remove();
  mount(Status, { target: document.getElementById("status")!, props: { board } });
  if (document.getElementById("problem")) target?.querySelector("[role=status]")?.remove();
  else if (target) {
    const view = VIEWS[target.dataset["view"] ?? ""];
    target.textContent = "";
    if (view) mount(view, { target, props: { board } });
  } else if (document.querySelector("[data-live=runs]")) board.follow(["runs", "progress", "tick"], () => again("runs"));
  // A run in progress that has told nothing yet: asking for its page asks for more.
  else if (document.querySelector("[data-live=run]")) board.follow(["progress", "runs", "tick"], () => again("run"));
}

let last = "";

/** A page of the server's own: its live part is taken from the page as it is now, unless it is what it was. */
async function again(name: string): Promise<void> {
  try {
    const answer = await fetch(location.href);
    if (!answer.ok) return;
    const text = await answer.text();
    if (!text.includes(`data-live="${name}"`)) return location.reload(); // it has become a report, which stands under a policy of its own
    const fresh = new DOMParser().parseFromString(text, "text/html").querySelector(`[data-live=${name}]`);
    const old = document.querySelector(`[data-live=${name}]`);
    if (!fresh || !old || fresh.outerHTML === last) return;
    last = fresh.outerHTML;
    const chosen = new Set([...old.querySelectorAll<HTMLInputElement>("input:checked")].map((box) => box.value));
    const focus = (document.activeElement as HTMLElement | null)?.getAttribute("href");
    for (const box of fresh.querySelectorAll<HTMLInputElement>("input[type=checkbox]")) if (chosen.has(box.value)) box.setAttribute("checked", "");
    old.replaceWith(fresh);
    if (focus) document.querySelector<HTMLElement>(`[href="${CSS.escape(focus)}"]`)?.focus();
  } catch {
    // The stream tells when the server is back.
  }
}

start();
