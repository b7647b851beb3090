// Reads the two data blocks of the page, paints, then inflates the rest.
import { mount } from "svelte";
import Page from "./Page.svelte";
import { type Head, load } from "./profile";
import { Session } from "./session.svelte";
import { Shown } from "./shown.svelte";
import "./tokens.css";
import "./style.css";

function take(id: string): string {
  const block = document.getElementById(id);
  const text = block?.textContent ?? "";
  block?.remove();
  return text;
}

async function start(): Promise<void> {
  const target = document.getElementById("app")!;
  try {
    const { profile, rest } = await load(JSON.parse(take("head")) as Head, take("body"));
    const session = new Session(profile);
    const shown = new Shown(session);
    mount(Page, { target, props: { shown } });
    // After the first frame, so that nothing delays the picture.
    requestAnimationFrame(() => setTimeout(() => void rest().then(() => (session.whole = true)), 0));
  } catch (error) {
    target.textContent = `This report cannot be shown: ${error instanceof Error ? error.message : String(error)}`;
    throw error;
  }
}

void start();
