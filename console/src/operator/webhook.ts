import { button, element, setText } from "../dom.js";
import { memberTexts } from "../json.js";
import type { EndedEvent, Webhook } from "./answers.js";
import { bytes, count, plural } from "../format.js";
import { historyTable, type HistoryEntry } from "./history.js";
import { attempt, card, Freshness, lacks, may, pageHead, type Desk, type Page } from "./page.js";
import { PagedList } from "./pagedlist.js";
import { Poll } from "./poll.js";
import { askReplay } from "./replay.js";
import { hrefOf } from "./route.js";
import { fillTime } from "./times.js";
import { fillFailure, fillState } from "./webhooks.js";

/** How many events of the history are shown at once. */
const historySize = 50;

/** One webhook: how it goes, and its history. */
export function webhookPage(desk: Desk, name: string, state: string): Page {
  const back = element("a", "back", "All webhooks");
  back.href = hrefOf({ page: "webhooks", app: desk.app });
  if (!may(desk.own, "webhooks:read")) {
    return { title: name, element: element("div", "page", back, pageHead(name), card("Webhook", lacks("webhooks:read"))) };
  }
  return { title: name, element: element("div", "page", back, ...new WebhookPage(desk, name, state).elements) };
}

interface Tested {
  delivered: boolean;
  status?: number;
  reason?: string;
  tookMs: number;
}

class WebhookPage {
  readonly elements: HTMLElement[];
  readonly #desk: Desk;
  readonly #name: string;
  readonly #path: string;
  readonly #state = element("p", "state-line");
  readonly #freshness = new Freshness();
  readonly #facts = new Map<string, HTMLElement>();
  readonly #tested = element("p", "tested");
  readonly #testButton: HTMLButtonElement;
  readonly #poll: Poll;
  readonly #history: PagedList<HistoryEntry>;

  constructor(desk: Desk, name: string, state: string) {
    this.#desk = desk;
    this.#name = name;
    this.#path = `/webhooks/${encodeURIComponent(name)}`;
    this.#tested.role = "status";
    this.#testButton = this.#act("Send a test", () => this.#test());
    const tools = element("div", "tools", this.#testButton, this.#act("Replay …", () => this.#replay()));
    const facts = element("dl", "facts two-columns");
    for (const fact of ["Posts to", "Events", "Waiting", "Delivered", "Given up", "Dropped", "Last success", "Last failure"]) {
      const value = element("dd", fact === "Last failure" ? "failure" : "", "–");
      this.#facts.set(fact, value);
      facts.append(element("dt", "", fact), value);
    }
    const wanted = state === "delivered" || state === "failed" ? state : "";
    this.#history = new PagedList(desk, historyTable(wanted), "event", (cursor, signal) => this.#ask(wanted, cursor, signal));
    const history = card("History", this.#history.element);
    history.firstElementChild?.after(this.#filter(wanted));
    const about = card("How it goes", facts, this.#tested);
    this.elements = [pageHead(name, this.#state, this.#freshness.element, tools), about, history];
    this.#poll = new Poll((signal) => this.#look(signal), (problem) => this.#freshness.show(problem), desk.signal);
  }

  async #look(signal: AbortSignal): Promise<void> {
    const hook = await this.#desk.api.get<Webhook>(this.#path, { query: { app: this.#desk.app }, signal });
    fillState(this.#state, hook);
    this.#set("Posts to", hook.allowPrivate ? `${hook.url} (private addresses allowed)` : hook.url);
    this.#set("Events", hook.events.join(", "));
    this.#set("Delivered", count(hook.delivered));
    this.#set("Given up", count(hook.failed));
    this.#set("Dropped", hook.dropped === 0 ? "0" : `${count(hook.dropped)}, which found the queue full`);
    const [waiting, success, failure] = ["Waiting", "Last success", "Last failure"].map((name) => this.#facts.get(name));
    if (waiting !== undefined) setText(waiting, hook.waiting === 0 ? "0" : `${plural(hook.waiting, "event")}, ${bytes(hook.waitingBytes)}`);
    if (success !== undefined) fillTime(success, hook.lastSuccess, "none yet");
    if (failure !== undefined) fillFailure(failure, hook);
  }

  async #ask(state: string, cursor: string, signal: AbortSignal): Promise<{ items: HistoryEntry[]; next?: string | undefined }> {
    const query = { app: this.#desk.app, state, limit: historySize, cursor };
    const text = await this.#desk.api.text(`${this.#path}/events`, { query, signal });
    const answer = JSON.parse(text) as { events: EndedEvent[]; next?: string };
    const posted = memberTexts(text, "events", "event");
    return { items: answer.events.map((event, i) => ({ ...event, text: posted[i] ?? JSON.stringify(event.event) })), next: answer.next };
  }

  /** Links, so that what is looked for is part of the address. */
  #filter(state: string): HTMLElement {
    const nav = element("nav", "card-tools filter");
    nav.ariaLabel = "Which events";
    for (const [value, words] of [["", "All"], ["delivered", "Delivered"], ["failed", "Given up"]] as const) {
      const link = element("a", "", words);
      link.href = hrefOf({ page: "webhook", app: this.#desk.app, name: this.#name, state: value });
      if (value === state) link.setAttribute("aria-current", "true");
      nav.append(link);
    }
    return nav;
  }

  #set(fact: string, text: string): void {
    const where = this.#facts.get(fact);
    if (where !== undefined) setText(where, text);
  }

  #act(text: string, act: () => Promise<void>): HTMLButtonElement {
    const made = button(text, "small", () => void act());
    made.disabled = !may(this.#desk.own, "webhooks:manage");
    if (made.disabled) made.title = "The key lacks the scope webhooks:manage.";
    return made;
  }

  async #test(): Promise<void> {
    this.#testButton.disabled = true;
    this.#tested.className = "tested";
    setText(this.#tested, "Sending a test …");
    await attempt(this.#desk, async () => {
      const tested = await this.#desk.api.post<Tested>(`${this.#path}/tests`, { query: { app: this.#desk.app }, signal: this.#desk.signal });
      this.#tested.className = `tested ${tested.delivered ? "good" : "bad"}`;
      const answered = tested.status === undefined ? "" : ` with status ${tested.status}`;
      const took = ` after ${count(tested.tookMs)} ms`;
      setText(this.#tested, tested.delivered ? `The test was taken${answered}${took}.` : `The test failed${took}: ${tested.reason ?? "no reason is known"}`);
    });
    this.#testButton.disabled = false;
    if (this.#tested.textContent === "Sending a test …") setText(this.#tested, "");
    this.#poll.now();
    this.#history.reload();
  }

  async #replay(): Promise<void> {
    const replayed = await askReplay(this.#desk, this.#name, `${this.#path}/replays`);
    if (replayed === undefined) return;
    this.#desk.say(replayed);
    this.#poll.now();
  }
}
