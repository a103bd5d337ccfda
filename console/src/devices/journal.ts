import { isAbort, Problem } from "../api.js";
import { element, setText } from "../dom.js";
import { follow } from "../eventstream.js";
import { plural, timeOfDay } from "../format.js";
import { card, Freshness, lacks, may } from "../operator/page.js";
import { Table } from "../table.js";
import { amountOf, types, withMore, type JournalEvent, type JournalPage } from "./events.js";
import { rowsNote, scrolls } from "./scrolls.js";
import type { Signed } from "./numbers.js";

/** How many events are shown. */
const most = 100;

/** How far back is looked when the page comes, and in how many pages at most. */
const backMs = 15 * 60_000;
const mostPages = 10;

/** The server says at least every 15 s that it is there. */
const silenceMs = 40_000;

/** Rows are brought up to date no more often than that. */
const drawEveryMs = 200;

/** Who types is waited for. */
const typingMs = 400;

/** The journal as it grows. */
export class Journal {
  readonly element: HTMLElement;
  readonly #signed: Signed;
  readonly #freshness = new Freshness();
  readonly #table: Table<JournalEvent>;
  readonly #note = element("p", "hint rows-note");
  #events: JournalEvent[] = [];
  #device = "";
  #type = "";
  #asked = new AbortController();
  #typing: ReturnType<typeof setTimeout> | undefined;
  #drawing: ReturnType<typeof setTimeout> | undefined;

  constructor(signed: Signed) {
    this.#signed = signed;
    this.#table = journalTable();
    scrolls(this.#table.element, "Events");
    this.element = card("Journal", element("div", "filters", this.#deviceFilter(), this.#typeFilter()), this.#freshness.element);
    if (!may(signed.own, "journal:read")) {
      this.element.replaceChildren(element("h3", "card-title", "Journal"), lacks("journal:read"));
      return;
    }
    this.element.append(this.#table.element, this.#note);
    document.addEventListener("visibilitychange", () => this.#draw(), { signal: signed.signal });
    signed.signal.addEventListener("abort", () => {
      clearTimeout(this.#typing);
      clearTimeout(this.#drawing);
      this.#asked.abort();
    });
    this.#ask();
  }

  /** Begins anew, with what is chosen. */
  #ask(): void {
    this.#asked.abort();
    this.#asked = new AbortController();
    this.#events = [];
    this.#table.empty = "Asking the server …";
    this.#show();
    void this.#read(this.#asked.signal);
  }

  async #read(signal: AbortSignal): Promise<void> {
    const filter = { device: this.#device, type: this.#type };
    try {
      const after = await this.#before(filter, signal);
      await follow(
        this.#signed.api,
        {
          path: "/journal/stream",
          query: (lastEventId) => ({ ...filter, after: lastEventId === "" ? after : undefined }),
          silenceMs,
          what: "the stream of the journal",
          take: (events) => this.#take(events.filter(({ type }) => type === "journal").map(({ data }) => JSON.parse(data) as JournalEvent)),
          trouble: (problem) => this.#freshness.show(problem),
        },
        signal,
      );
    } catch (error) {
      if (isAbort(error)) return;
      if (!(error instanceof Problem)) throw error;
      this.#freshness.show(error);
      if (error.mayPass && !signal.aborted) this.#typing = setTimeout(() => this.#ask(), 2_000);
    }
  }

  /** Reads the last minutes, and returns the place where that ends; empty where there is more than is read. */
  async #before(filter: { device: string; type: string }, signal: AbortSignal): Promise<string> {
    const from = new Date(Date.now() - backMs).toISOString();
    let after = "";
    for (let n = 0; n < mostPages; n++) {
      const page = await this.#signed.api.get<JournalPage>("/journal", { query: { ...filter, from, after, limit: 1000 }, signal });
      this.#events = withMore(this.#events, page.events, most);
      if (page.next === undefined) {
        this.#loaded();
        return page.upTo;
      }
      after = page.next;
    }
    this.#events = []; // they would not join on to those that come
    this.#loaded();
    return "";
  }

  #loaded(): void {
    const filtered = this.#device !== "" || this.#type !== "";
    this.#table.empty = filtered ? "No such event in the last 15 minutes." : "No event in the last 15 minutes. Connect a device, and here it is.";
    this.#freshness.show(undefined);
    this.#show();
  }

  #take(more: readonly JournalEvent[]): void {
    if (more.length === 0) return;
    this.#events = withMore(this.#events, more, most);
    this.#draw();
  }

  #draw(): void {
    this.#drawing ??= setTimeout(() => {
      this.#drawing = undefined;
      if (!document.hidden) this.#show();
    }, drawEveryMs);
  }

  #show(): void {
    this.#table.show(this.#events);
    const rows = rowsNote(this.#table.element, plural(this.#events.length, "event"));
    const older = this.#events.length < most ? "" : " These are the newest; GET /v1/journal has the others.";
    setText(this.#note, this.#events.length === 0 ? "" : rows + older);
  }

  #deviceFilter(): HTMLElement {
    const input = element("input");
    input.type = "search";
    input.autocomplete = "off";
    input.spellcheck = false;
    input.maxLength = 128;
    input.placeholder = "all";
    input.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => {
        if (this.#device === input.value.trim()) return;
        this.#device = input.value.trim();
        this.#ask();
      }, typingMs);
    });
    return element("label", "inline small", "Of device", input);
  }

  #typeFilter(): HTMLElement {
    const select = element("select");
    select.append(new Option("all", ""), ...types.map((type) => new Option(type, type)));
    select.addEventListener("change", () => {
      this.#type = select.value;
      this.#ask();
    });
    return element("label", "inline small", "Type", select);
  }
}

function journalTable(): Table<JournalEvent> {
  return new Table<JournalEvent>({
    caption: "Events of the journal, the newest first",
    keyOf: ({ id }) => id,
    empty: "Asking the server …",
    columns: [
      { head: "Event", className: "first", fill: (cell, { type }) => setText(cell, type) },
      { head: "Time", className: "time", fill: (cell, { at }) => setText(cell, timeOfDay(Date.parse(at))) },
      { head: "Device", fill: (cell, { device }) => setText(cell, device ?? "–") },
      { head: "Amount", className: "number", fill: (cell, event) => setText(cell, amountOf(event)) },
      { head: "App", fill: (cell, { app }) => setText(cell, app ?? "") },
      { head: "Capability", fill: (cell, { capability }) => setText(cell, capability ?? "") },
      { head: "Domain", fill: (cell, { domain }) => setText(cell, domain ?? "") },
    ],
  });
}
