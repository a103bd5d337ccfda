import { element, setText } from "../dom.js";
import type { Trace } from "./answers.js";
import { Problem, sentence } from "../api.js";
import { fillBadge, fillLinkState } from "./domaintables.js";
import { count } from "../format.js";
import { traceWords, waitingWords } from "./network.js";
import { card, type Desk } from "./page.js";
import { hrefOf } from "./route.js";
import { fillTime } from "./times.js";

/** The field that says which way a message to a user would take. */
export class Tracing {
  readonly element: HTMLElement;
  readonly #desk: Desk;
  readonly #input = element("input");
  readonly #where = element("p", "trace-where");
  readonly #what = element("p", "trace-what");
  readonly #path = element("ol", "trace-path");
  readonly #facts = element("dl", "facts");
  readonly #values = { cost: element("dd"), link: element("dd", "link-state"), waiting: element("dd"), oldest: element("dd") };
  readonly #changed: () => void;
  #user: string;

  /** `changed` is called when another user is asked for. */
  constructor(desk: Desk, user: string, changed: () => void) {
    this.#desk = desk;
    this.#user = user;
    this.#changed = changed;
    this.#input.type = "search";
    this.#input.spellcheck = false;
    this.#input.required = true;
    this.#input.placeholder = `${desk.app}-123`;
    this.#input.value = user;
    const go = element("button", "", "Trace");
    go.type = "submit";
    const form = element("form", "find", element("label", "inline", element("span", "", "User ID"), this.#input), go);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
    for (const [name, value] of [["Cost", this.#values.cost], ["First link", this.#values.link], ["Waiting for it", this.#values.waiting], ["Oldest", this.#values.oldest]] as const) {
      this.#facts.append(element("dt", "", name), value);
    }
    this.#path.ariaLabel = "The path, domain by domain";
    const said = element("div", "trace-said", this.#where, this.#what);
    said.role = "status";
    this.element = card("Trace a user", form, said, this.#path, this.#facts);
    this.#clear("Says where a user lives, and which way a message to this user would take now.");
  }

  /** Brings what is said up to date, and returns the path. */
  async look(signal: AbortSignal): Promise<readonly string[]> {
    const user = this.#user;
    if (user === "") return [];
    try {
      const trace = await this.#desk.api.get<Trace>("/domains/trace", { query: { user }, signal });
      return user === this.#user ? this.#show(trace) : [];
    } catch (error) {
      if (!(error instanceof Problem) || error.mayPass || error.keyIsBad) throw error;
      this.#clear(sentence(error), true);
      return [];
    }
  }

  /** Asks for what was typed. A number alone is a user of the chosen app. */
  #ask(): void {
    const typed = this.#input.value.trim();
    const user = /^\d+$/.test(typed) ? `${this.#desk.app}-${typed}` : typed;
    if (user === "") return;
    this.#user = user;
    // The address is kept up, without opening the page anew.
    history.replaceState(null, "", hrefOf({ page: "domains", user }));
    this.#changed();
  }

  #show(trace: Trace): readonly string[] {
    const { where, what, good } = traceWords(trace);
    this.#where.className = "trace-where";
    setText(this.#where, where);
    fillBadge(this.#what, good ? "good" : "bad", what);
    const path = trace.path.length < 2 ? [] : trace.path;
    if ([...this.#path.children].map((one) => one.textContent).join(" ") !== path.join(" ")) {
      this.#path.replaceChildren(...path.map((name) => element("li", "", element("span", "", name))));
    }
    this.#path.hidden = path.length === 0;
    this.#facts.hidden = trace.sending === undefined;
    setText(this.#values.cost, count(trace.cost));
    if (trace.sending !== undefined) fillLinkState(this.#values.link, trace.sending);
    setText(this.#values.waiting, waitingWords(trace.waiting?.messages ?? 0, trace.waiting?.bytes ?? 0));
    fillTime(this.#values.oldest, trace.waiting?.oldest);
    return path;
  }

  #clear(words: string, bad = false): void {
    this.#where.className = bad ? "trace-where over" : "trace-where muted";
    setText(this.#where, words);
    setText(this.#what, "");
    this.#path.hidden = true;
    this.#facts.hidden = true;
  }
}
