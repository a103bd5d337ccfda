import { element, setText } from "../dom.js";
import { type Api, Problem, sentence } from "../api.js";
import type { Own } from "./answers.js";

/** What a page gets to work with. */
export interface Desk {
  api: Api;
  own: Own;
  /** Given when the page is left. */
  signal: AbortSignal;
  /** The app that lists are about. */
  app: string;
  /** Says what came of something that was asked for, also to who cannot see it. */
  say(text: string): void;
}

/** A page of the operator's part. */
export interface Page {
  title: string;
  element: HTMLElement;
}

/** A heading with what stands beside it. */
export function pageHead(title: string, ...beside: (Node | string)[]): HTMLElement {
  const heading = element("h2", "page-title", title);
  heading.tabIndex = -1; // takes the focus when its page is opened
  return element("div", "page-head", heading, ...beside);
}

/** A part of a page with a heading of its own. */
export function card(title: string, ...content: (Node | string)[]): HTMLElement {
  const section = element("section", "card", element("h3", "card-title", title), ...content);
  section.ariaLabel = title;
  return section;
}

/** Whether a key is good for something. */
export function may(own: Own, scope: string): boolean {
  return own.admin || own.scopes.includes(scope);
}

/** What stands in place of a part for which the key has no scope. */
export function lacks(scope: string): HTMLElement {
  return element("p", "lacks", "The key that you are signed in with lacks the scope ", element("code", "", scope), ", which this part needs.");
}

/** Runs what a button asks for; a problem is said, anything else is a fault of ours. */
export async function attempt(desk: Desk, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    if (desk.signal.aborted) return;
    if (!(error instanceof Problem)) throw error;
    desk.say(sentence(error));
  }
}

/** The line that says that what is shown is old, and why. Its room is always there. */
export class Freshness {
  readonly element = element("p", "freshness");
  #last = 0;

  constructor() {
    this.element.role = "status";
  }

  show(problem: Problem | undefined): void {
    if (problem === undefined) {
      this.#last = Date.now();
      setText(this.element, "");
      return;
    }
    const since = this.#last === 0 ? "" : " What is shown is how it was.";
    const again = problem.mayPass ? " Trying again." : "";
    setText(this.element, `${sentence(problem)}${since}${again}`);
  }
}
