import { button, element, setText } from "../dom.js";
import { Problem } from "../api.js";
import { plural } from "../format.js";
import { Freshness, type Desk } from "./page.js";
import { Poll } from "./poll.js";
import { type Table } from "../table.js";

/** How many entries a page holds: as many as are looked over at once, and no tab hangs of. */
export const pageSize = 100;

export interface ListAnswer<T> {
  items: T[];
  next?: string | undefined;
}

/** A table of what the server lists in pages, brought up to date by itself. */
export class PagedList<T> {
  readonly element: HTMLElement;
  readonly #table: Table<T>;
  readonly #load: (cursor: string, signal: AbortSignal) => Promise<ListAnswer<T>>;
  readonly #freshness = new Freshness();
  readonly #count = element("p", "list-count");
  readonly #previous: HTMLButtonElement;
  readonly #next: HTMLButtonElement;
  readonly #poll: Poll;
  /** The cursors of the pages up to this one; the first page's is empty. */
  #cursors = [""];
  #nextCursor: string | undefined;

  constructor(desk: Desk, table: Table<T>, noun: string, load: (cursor: string, signal: AbortSignal) => Promise<ListAnswer<T>>) {
    this.#table = table;
    this.#load = load;
    this.#previous = button("Previous", "small", () => this.#turn(-1));
    this.#next = button("Next", "small", () => this.#turn(1));
    this.#previous.disabled = true;
    this.#next.disabled = true;
    const pager = element("nav", "pager", this.#previous, this.#next);
    pager.ariaLabel = "Pages of this list";
    const foot = element("div", "list-foot", this.#count, pager);
    this.element = element("div", "list", this.#freshness.element, table.element, foot);
    setText(this.#count, "Loading …");
    this.#poll = new Poll((signal) => this.#ask(noun, signal), (problem) => this.#failed(problem), desk.signal);
  }

  /** Asks anew, at once. */
  reload(): void {
    this.#poll.now();
  }

  /** Begins at the first page. */
  restart(): void {
    this.#cursors = [""];
    this.reload();
  }

  async #ask(noun: string, signal: AbortSignal): Promise<void> {
    const page = this.#cursors.length;
    const answer = await this.#load(this.#cursors.at(-1) ?? "", signal);
    if (signal.aborted) return;
    this.#table.show(answer.items);
    this.#nextCursor = answer.next;
    this.#previous.disabled = page === 1;
    this.#next.disabled = answer.next === undefined;
    const more = answer.next !== undefined || page > 1;
    setText(this.#count, more ? `Page ${page}, ${plural(answer.items.length, noun)} on it` : plural(answer.items.length, noun));
  }

  #failed(problem: Problem | undefined): void {
    // A cursor is good for its own list only; the server may have begun anew.
    if (problem?.field === "cursor" && this.#cursors.length > 1) {
      this.restart();
      return;
    }
    this.#freshness.show(problem);
    if (problem !== undefined && this.#count.textContent === "Loading …") setText(this.#count, "Not loaded.");
  }

  #turn(by: 1 | -1): void {
    if (by === 1 && this.#nextCursor !== undefined) this.#cursors.push(this.#nextCursor);
    else if (by === -1 && this.#cursors.length > 1) this.#cursors.pop();
    this.#nextCursor = undefined;
    this.#next.disabled = true;
    this.reload();
    this.#table.element.scrollIntoView({ block: "nearest" });
  }
}
