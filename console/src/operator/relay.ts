import { element, setText } from "../dom.js";
import { type Problem } from "../api.js";
import type { Relay } from "./answers.js";
import { fillBadge } from "./domaintables.js";
import type { Look } from "./members.js";
import { card, Freshness, lacks, may, pageHead, type Desk, type Page } from "./page.js";
import { Poll } from "./poll.js";
import { clustersSummary, collectorsOf, failuresOf, programsOf, targetsOf, uploadersSummary, type ShownCollector, type ShownFailure, type ShownProgram, type ShownTarget } from "./relaywords.js";
import { Table, type Column } from "../table.js";
import { fillTime } from "./times.js";

/** How often the network server is asked: it is looked at when something is stuck. */
const everyMs = 2_000;
/** The node waits three seconds for the network server. */
const patienceMs = 8_000;

/** Files on their way: who takes them, who sends them, what waits and what went wrong. */
export function relayPage(desk: Desk): Page {
  const title = "Relay";
  if (!may(desk.own, "stats:read")) return { title, element: element("div", "page", pageHead(title), card("Clusters", lacks("stats:read"))) };
  return { title, element: new RelayPage(desk).element };
}

class RelayPage {
  readonly element: HTMLElement;
  readonly #desk: Desk;
  readonly #freshness = new Freshness();
  readonly #network = element("p", "hint relay-network");
  readonly #clusters = element("p", "relay-summary", "Loading …");
  readonly #uploaders = element("p", "relay-summary");
  readonly #collectorTable = collectorsTable();
  readonly #uploaderTable = programsTable("Uploaders, by host and spool", "No uploader reports. One of ours does when its network.server names this network server; one of another make never does.");
  readonly #targetTable = targetsTable();
  readonly #makerTable = programsTable("Makers, by host and spool", "No maker reports.", true);
  readonly #failureTable = failuresTable();
  readonly #shown: readonly HTMLElement[];
  readonly #makers: HTMLElement;
  readonly #off = howToShow();
  readonly #away = howToReach();
  #seen = false;

  constructor(desk: Desk) {
    this.#desk = desk;
    for (const summary of [this.#clusters, this.#uploaders]) summary.role = "status";
    this.#makers = card("Makers", this.#makerTable.element);
    this.#shown = [
      card("Clusters", this.#clusters, this.#network, this.#collectorTable.element),
      card("Uploaders", this.#uploaders, this.#uploaderTable.element),
      card("On the way", this.#targetTable.element),
      card("Newest failures", this.#failureTable.element),
    ];
    this.#makers.hidden = true;
    this.#off.hidden = true;
    this.#away.hidden = true;
    const [clusters, uploaders, ...others] = this.#shown;
    this.element = element("div", "page relay", pageHead("Relay", this.#freshness.element), this.#off, this.#away);
    for (const part of [clusters, uploaders, this.#makers, ...others]) if (part !== undefined) this.element.append(part);
    this.#showParts();
    new Poll((signal) => this.#look(signal), (problem) => this.#failed(problem), desk.signal, everyMs);
  }

  async #look(signal: AbortSignal): Promise<void> {
    const relay = await this.#desk.api.get<Relay>("/relay", { signal, patienceMs });
    if (signal.aborted) return;
    this.#seen = true;
    setText(this.#network, relay.version === "" ? `The network server ${relay.network} is of another make: it knows members, and no more.` : `As the network server ${relay.network} (${relay.version}) knows it.`);
    setText(this.#clusters, clustersSummary(relay));
    setText(this.#uploaders, uploadersSummary(relay));
    this.#collectorTable.show(collectorsOf(relay));
    this.#uploaderTable.show(programsOf(relay, "uploader"));
    this.#targetTable.show(targetsOf(relay));
    const makers = programsOf(relay, "maker");
    this.#makerTable.show(makers);
    this.#failureTable.show(failuresOf(relay));
    this.#makers.hidden = makers.length === 0;
  }

  /** What was shown stays while the network server is out of reach. */
  #failed(problem: Problem | undefined): void {
    const off = problem?.code === "RELAY_OFF";
    this.#off.hidden = !off;
    this.#away.hidden = problem?.code !== "RELAY_UNREACHABLE";
    this.#freshness.show(off ? undefined : problem);
    if (off) this.#seen = false;
    this.#showParts();
  }

  #showParts(): void {
    for (const part of this.#shown) part.hidden = !this.#seen;
    if (!this.#seen) this.#makers.hidden = true;
  }
}

function collectorsTable(): Table<ShownCollector> {
  return new Table<ShownCollector>({
    caption: "Collectors, by cluster",
    keyOf: ({ key }) => key,
    empty: "No collector has joined. Start one with switchboard relay collector, and give it this network server and the name of a cluster.",
    columns: [
      { head: "Collector", className: "first", fill: (cell, { cluster, id, address }) => fillPlace(cell, `${cluster}/${id}`, address) },
      { head: "State, since", className: "relay-state", fill: (cell, { look, state, since, reason }) => fillState(cell, look, state, since, reason) },
      { head: "In its spool", className: "relay-amount", fill: (cell, { waiting, oldest }) => fillTwo(cell, waiting, oldest) },
      { head: "Comes in", className: "relay-amount", fill: (cell, { rate }) => fillTwo(cell, ...rate) },
      { head: "Stored", className: "relay-amount", fill: (cell, { stored }) => fillTwo(cell, ...stored) },
      { head: "Version", className: "relay-version", fill: (cell, { version }) => setText(cell, version) },
    ],
  });
}

function programsTable(caption: string, empty: string, makers = false): Table<ShownProgram> {
  const alone: Column<ShownProgram> = { head: "Left alone", className: "number", fill: (cell, { leftAlone }) => setText(cell, leftAlone) };
  return new Table<ShownProgram>({
    caption,
    keyOf: ({ key }) => key,
    empty,
    columns: [
      { head: "Host, spool", className: "first", fill: (cell, { host, spool }) => fillTwo(cell, host, spool) },
      { head: "State", className: "relay-state", fill: (cell, { look, state, since }) => fillState(cell, look, state, since, "") },
      { head: "Waiting", className: "relay-amount", fill: (cell, { waiting, oldest }) => fillTwo(cell, waiting, oldest) },
      { head: makers ? "Makes" : "Goes out", className: "relay-amount", fill: (cell, { rate }) => fillTwo(cell, ...rate) },
      { head: makers ? "Made" : "Sent", className: "relay-amount", fill: (cell, { done }) => fillTwo(cell, ...done) },
      ...(makers ? [] : [alone]),
      { head: "Version", className: "relay-version", fill: (cell, { version }) => setText(cell, version) },
    ],
  });
}

function targetsTable(): Table<ShownTarget> {
  return new Table<ShownTarget>({
    caption: "What waits for whom, trouble first",
    keyOf: ({ key }) => key,
    empty: "No uploader says to whom it sends.",
    columns: [
      { head: "From", className: "first", fill: (cell, { from, spool }) => fillTwo(cell, from, spool) },
      { head: "To", className: "relay-amount", fill: (cell, { to, address }) => fillPlace(cell, to, address) },
      { head: "State", className: "relay-state", fill: (cell, { look, state, reason }) => fillState(cell, look, state, undefined, reason) },
      { head: "Waiting", className: "relay-amount", fill: (cell, { waiting, oldest }) => fillTwo(cell, waiting, oldest) },
      { head: "Goes out", className: "number", fill: (cell, { rate }) => setText(cell, rate) },
    ],
  });
}

function failuresTable(): Table<ShownFailure> {
  return new Table<ShownFailure>({
    caption: "What went wrong, the newest first",
    keyOf: ({ key }) => key,
    empty: "Nothing went wrong, as far as programs report.",
    columns: [
      { head: "File", className: "first", fill: (cell, { name, note }) => fillTwo(cell, name, note) },
      { head: "When", className: "time", fill: (cell, { at }) => fillTime(cell, at) },
      { head: "To", className: "relay-amount", fill: (cell, { to, sender }) => fillTwo(cell, to, sender) },
      { head: "Why", className: "relay-why", fill: (cell, { reason }) => setText(cell, reason) },
      { head: "By", className: "relay-amount", fill: (cell, { by, spool }) => fillTwo(cell, by, spool) },
    ],
  });
}

/** Two texts, the second smaller; an empty one takes no room. */
function fillTwo(cell: HTMLElement, text: string, more: string): void {
  if (cell.firstElementChild === null) cell.append(element("div", "two-lines", element("span"), element("span", "id")));
  const [first, second] = cell.querySelectorAll<HTMLElement>(".two-lines > span");
  if (first === undefined || second === undefined) return;
  setText(first, text);
  second.hidden = more === "";
  setText(second, more);
}

/** A name, and host and port below it: where there is little room, the port goes to the next line as a whole. */
function fillPlace(cell: HTMLElement, name: string, address: string): void {
  if (cell.firstElementChild === null) cell.append(element("div", "two-lines", element("span"), element("span", "id", element("span"), element("wbr"), element("span", "relay-port"))));
  const [first, host, port] = cell.querySelectorAll<HTMLElement>("span:not(.id)");
  if (first === undefined || host === undefined || port === undefined) return;
  const colon = address.includes(":") ? address.lastIndexOf(":") : address.length;
  setText(first, name);
  setText(host, address.slice(0, colon));
  setText(port, address.slice(colon));
}

function fillState(cell: HTMLElement, look: Look, state: string, since: string | undefined, reason: string): void {
  if (cell.firstElementChild === null) cell.append(element("div", "two-lines", element("span"), element("span", "since"), element("span", "reason")));
  const [badge, when, why] = cell.querySelectorAll<HTMLElement>(".two-lines > span");
  if (badge === undefined || when === undefined || why === undefined) return;
  fillBadge(badge, look, state);
  when.hidden = since === undefined;
  if (since !== undefined) fillTime(when, since);
  why.hidden = reason === "";
  setText(why, reason);
}

const code = (text: string): HTMLElement => element("code", "", text);

/** What stands in place of all where no relay is named. */
function howToShow(): HTMLElement {
  return card(
    "No relay is shown",
    element("p", "", "A relay moves files from a folder to the folders of others, on this machine or on many. This page shows one that has a network server:"),
    element(
      "ol",
      "steps",
      element("li", "", "Start it: ", code("switchboard relay network --config FILE"), "."),
      element("li", "", "Name it in the settings file of this node, ", code('relay: {network: "127.0.0.1:9200"}'), ", and start the node again."),
    ),
    element("p", "hint", code("switchboard demo relay"), " starts a whole relay to look at. All of it is described in docs/relay.md."),
  );
}

/** What stands above all where it does not answer. */
function howToReach(): HTMLElement {
  return card(
    "The network server does not answer",
    element("p", "", "Collectors and uploaders go on without it, with what they know. Why it could not be asked is said above."),
    element(
      "ol",
      "steps",
      element("li", "", "Does it run, and at the address that ", code("relay.network"), " names?"),
      element("li", "", "Does it ask for a secret (", code("relay.secretFile"), ") or speak TLS (", code("relay.ca"), ", or https:// in the address)?"),
    ),
  );
}
