import { element, setText } from "../dom.js";
import type { Readiness, Stats } from "./answers.js";
import { bytes, count, duration } from "../format.js";
import { card } from "./page.js";

/** Whether the parts of the node that serves the page work, and some facts about it, then about all nodes. */
export class Health {
  readonly element: HTMLElement;
  readonly #parts = element("ul", "parts");
  readonly #facts = new Map<string, HTMLElement>();

  constructor() {
    const facts = element("dl", "facts");
    for (const name of ["Version", "Up for", "Memory", "Goroutines", "Nodes", "Message log", "Connections", "HTTP connections"]) {
      const value = element("dd", "", "–");
      this.#facts.set(name, value);
      facts.append(element("dt", "", name), value);
    }
    this.element = card("Health", this.#parts, facts);
    this.showParts(undefined);
  }

  /** undefined: the server did not say. */
  showParts(readiness: Readiness | undefined): void {
    const items = readiness?.parts.map(({ name, ready, reason }) => partItem(name, ready ? "works" : withReason(reason), ready ? "good" : "bad"));
    this.#parts.replaceChildren(...(items ?? [partItem("server", "not known", "unknown")]));
  }

  showFacts(s: Stats): void {
    this.#set("Version", s.version);
    this.#set("Up for", duration(s.uptimeSeconds));
    this.#set("Memory", `${bytes(s.memory.bytes)}, ${bytes(s.memory.heap)} of it in use`);
    this.#set("Goroutines", count(s.goroutines));
    this.#set("Nodes", s.nodes === 1 ? "1" : `${count(s.nodes)}, added up; what stands above is of this one`);
    this.#set("Message log", bytes(s.log.bytes));
    this.#set("Connections", `${count(s.connections)}, ${count(s.sessions)} of them signed in`);
    this.#set("HTTP connections", count(s.http.connections));
  }

  #set(name: string, text: string): void {
    const where = this.#facts.get(name);
    if (where !== undefined) setText(where, text);
  }
}

function withReason(reason: string | undefined): string {
  return reason === undefined || reason === "" ? "does not work" : reason;
}

function partItem(name: string, words: string, state: "good" | "bad" | "unknown"): HTMLElement {
  const dot = element("span", `mark-dot ${state}`);
  dot.ariaHidden = "true";
  return element("li", "", dot, element("b", "", name), " ", element("span", "", words));
}
