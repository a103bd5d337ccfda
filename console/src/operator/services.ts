import { element, setText } from "../dom.js";
import { Problem } from "../api.js";
import { follow } from "../eventstream.js";
import { fillBadge } from "./domaintables.js";
import { card, Freshness, lacks, may, pageHead, type Desk, type Page } from "./page.js";
import { Services, type ShownInstance } from "./serviceswords.js";
import { Table } from "../table.js";
import { fillTime } from "./times.js";

/** Without a sign of life for so long the stream counts as dead. The server gives one every 15 seconds. */
const silenceMs = 40_000;
/** How often the times that are shown are brought up to date. */
const timesMs = 10_000;

/** The services beside the server, and where their instances are. */
export function servicesPage(desk: Desk): Page {
  const title = "Services";
  if (!may(desk.own, "services:read")) return { title, element: element("div", "page", pageHead(title), card("Instances", lacks("services:read"))) };
  return { title, element: new ServicesPage(desk).element };
}

class ServicesPage {
  readonly element: HTMLElement;
  readonly #freshness = new Freshness();
  readonly #summary = element("p", "services-summary", "Loading …");
  readonly #services = new Services();
  readonly #table = instancesTable();

  constructor(desk: Desk) {
    this.#summary.role = "status";
    this.element = element("div", "page services unwatched", pageHead("Services", this.#freshness.element), card("Instances", this.#summary, this.#table.element), howToRegister());
    const times = setInterval(() => this.#table.show(this.#services.rows), timesMs);
    desk.signal.addEventListener("abort", () => clearInterval(times));
    void this.#follow(desk);
  }

  async #follow(desk: Desk): Promise<void> {
    try {
      await follow(
        desk.api,
        {
          path: "/services/stream",
          query: () => ({}),
          silenceMs,
          what: "the stream of services",
          take: (events) => {
            for (const { type, data } of events) this.#services.take(type, data);
            if (events.some(({ type }) => type === "services")) this.#begun = true;
            this.#show();
          },
          trouble: (problem) => this.#freshness.show(problem),
        },
        desk.signal,
      );
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#freshness.show(error);
    }
  }

  /** All that there are have been told once. */
  #begun = false;

  #show(): void {
    if (!this.#begun) return;
    setText(this.#summary, this.#services.summary);
    this.element.classList.toggle("unwatched", !this.#services.watched);
    this.#table.show(this.#services.rows);
  }
}

function instancesTable(): Table<ShownInstance> {
  return new Table<ShownInstance>({
    caption: "Instances of services, by service and name",
    keyOf: ({ key }) => key,
    empty: "No service is there.",
    columns: [
      { head: "Service, instance", className: "first", fill: (cell, { service, instance }) => fillTwo(cell, service, instance) },
      { head: "URL", className: "service-url", fill: fillUrl },
      { head: "Health, since", className: "service-health", fill: fillHealth },
      { head: "In flight", className: "number service-load", fill: (cell, { inFlight }) => setText(cell, inFlight) },
      { head: "Weight", className: "number", fill: (cell, { weight }) => setText(cell, weight) },
      { head: "There since", className: "time", fill: (cell, { since }) => fillTime(cell, since) },
      { head: "Stays", className: "service-stays", fill: (cell, { stays }) => setText(cell, stays) },
      { head: "Meta", className: "service-meta", fill: (cell, { meta }) => setText(cell, meta === "" ? "–" : meta) },
    ],
  });
}

function fillTwo(cell: HTMLElement, first: string, second: string): void {
  if (cell.firstElementChild === null) cell.append(element("div", "two-lines", element("span"), element("span", "id")));
  const [one, two] = cell.querySelectorAll<HTMLElement>(".two-lines > span");
  if (one === undefined || two === undefined) return;
  setText(one, first);
  setText(two, second);
}

function fillUrl(cell: HTMLElement, { url }: ShownInstance): void {
  const code = cell.querySelector("code") ?? element("code");
  if (code.parentElement === null) cell.append(code);
  setText(code, url); // as text: whoever may register writes it
}

function fillHealth(cell: HTMLElement, { look, health, healthSince, reason }: ShownInstance): void {
  if (cell.firstElementChild === null) cell.append(element("div", "two-lines", element("span"), element("span", "since"), element("span", "reason")));
  const [badge, when, why] = cell.querySelectorAll<HTMLElement>(".two-lines > span");
  if (badge === undefined || when === undefined || why === undefined) return;
  fillBadge(badge, look, health);
  when.hidden = healthSince === undefined;
  if (healthSince !== undefined) fillTime(when, healthSince);
  why.hidden = reason === "";
  setText(why, reason);
}

function howToRegister(): HTMLElement {
  return card(
    "Add one",
    element("p", "", "An instance is registered for as long as a command runs, and gone soon after it, or its machine, has gone:"),
    element("pre", "", "switchboard register --name orders \\\n  --url http://10.0.0.7:8080 \\\n  -- ./orders"), // a narrow page would break it behind a --
    element("p", "hint", "Programs register by themselves with PUT /v1/services/NAME/INSTANCE, and instances that stay are in a file. All of it is described in docs/gateway.md."),
  );
}
