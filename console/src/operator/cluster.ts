import { element, setText } from "../dom.js";
import type { Cluster } from "./answers.js";
import { fillBadge } from "./domaintables.js";
import { rowsOf, Standing, storeLines, summaryOf, versionsWords, type Line, type ShownMember } from "./members.js";
import { card, Freshness, lacks, may, pageHead, type Desk, type Page } from "./page.js";
import { Poll } from "./poll.js";
import { Table } from "../table.js";
import { fillTime } from "./times.js";

/** How often the nodes are asked for: they are looked at when one of them is in trouble. */
const everyMs = 2_000;
/** The node answers in cluster.askTimeout, which is 5 s unless set; one that does not by then is in trouble itself. */
const patienceMs = 8_000;

/** The nodes that are one server, and where what they store is. */
export function clusterPage(desk: Desk): Page {
  const title = "Cluster";
  if (!may(desk.own, "stats:read")) return { title, element: element("div", "page", pageHead(title), card("Nodes", lacks("stats:read"))) };
  return { title, element: new ClusterPage(desk).element };
}

class ClusterPage {
  readonly element: HTMLElement;
  readonly #desk: Desk;
  readonly #freshness = new Freshness();
  readonly #summary = element("p", "cluster-summary", "Loading …");
  readonly #versions = element("p", "versions");
  readonly #table = membersTable();
  readonly #lines = element("ul", "standing");
  readonly #standing = new Standing(everyMs + patienceMs);
  readonly #stored: HTMLElement;
  readonly #alone: HTMLElement;

  constructor(desk: Desk) {
    this.#desk = desk;
    this.#summary.role = "status";
    this.#versions.hidden = true;
    this.#stored = card("What is stored", this.#lines);
    this.#alone = aboutNodes();
    this.#stored.hidden = true;
    this.#alone.hidden = true;
    const nodes = card("Nodes", this.#summary, this.#versions, this.#table.element);
    this.element = element("div", "page", pageHead("Cluster", this.#freshness.element), nodes, this.#stored, this.#alone);
    new Poll((signal) => this.#look(signal), (problem) => this.#freshness.show(problem), desk.signal, everyMs);
  }

  async #look(signal: AbortSignal): Promise<void> {
    const cluster = await this.#desk.api.get<Cluster>("/cluster", { signal, patienceMs });
    if (signal.aborted) return;
    setText(this.#summary, summaryOf(cluster));
    const versions = versionsWords(cluster.members);
    this.#versions.hidden = versions === "";
    fillBadge(this.#versions, "warn", versions);
    this.#table.show(rowsOf(cluster));
    const alone = cluster.members.length === 1 && cluster.store === undefined;
    this.#alone.hidden = !alone;
    this.#stored.hidden = alone;
    const now = Date.now();
    const calm = this.#standing.see(cluster, now);
    if (!alone) this.#showLines(storeLines(cluster, now, calm));
  }

  #showLines(lines: readonly Line[]): void {
    while (this.#lines.childElementCount > lines.length) this.#lines.lastElementChild?.remove();
    while (this.#lines.childElementCount < lines.length) this.#lines.append(element("li"));
    for (const [i, item] of [...this.#lines.children].entries()) {
      const line = lines[i];
      if (line !== undefined && item instanceof HTMLElement) fillBadge(item, line.look, line.words);
    }
  }
}

function membersTable(): Table<ShownMember> {
  return new Table<ShownMember>({
    caption: "Nodes of the cluster, by name",
    keyOf: ({ key }) => key,
    empty: "No node is known.",
    columns: [
      { head: "Node", className: "first", fill: fillName },
      { head: "Status, since", className: "member-status", fill: fillStatus },
      { head: "Roles", className: "member-roles", fill: (cell, { roles }) => setText(cell, roles) },
      { head: "Version", className: "version", fill: fillVersion },
      { head: "Sessions", className: "number", fill: (cell, { sessions }) => setText(cell, sessions) },
      { head: "Load, CPUs", className: "number", fill: (cell, { load }) => setText(cell, load) },
      { head: "Copies", className: "copies", fill: (cell, { copies }) => setText(cell, copies) },
    ],
  });
}

function fillName(cell: HTMLElement, { name, self, address }: ShownMember, fresh: boolean): void {
  if (fresh) cell.append(element("div", "two-lines", element("span", "", element("span"), " ", element("span", "badge-soft", "this one")), element("code", "id")));
  const [text, badge] = cell.querySelectorAll<HTMLElement>(".two-lines > span > span");
  const where = cell.querySelector<HTMLElement>(".id");
  if (text === undefined || badge === undefined || where === null) return;
  setText(text, name);
  badge.hidden = !self;
  setText(where, address);
}

function fillStatus(cell: HTMLElement, { look, status, since, reason }: ShownMember, fresh: boolean): void {
  if (fresh) cell.append(element("div", "two-lines", element("span"), element("span", "since"), element("span", "reason")));
  const [badge, when, why] = cell.querySelectorAll<HTMLElement>(".two-lines > span");
  if (badge === undefined || when === undefined || why === undefined) return;
  fillBadge(badge, look, status);
  when.hidden = since === undefined;
  if (since !== undefined) fillTime(when, since);
  why.hidden = reason === "";
  setText(why, reason);
}

function fillVersion(cell: HTMLElement, { version, odd }: ShownMember): void {
  if (odd) fillBadge(cell, "warn", version);
  else setText(cell, version);
}

/** What stands below a node that has no others. */
function aboutNodes(): HTMLElement {
  const code = (text: string): HTMLElement => element("code", "", text);
  return card(
    "This node is alone",
    element("p", "", "There is no other node: while it is stopped nobody is served. Three nodes make one server that goes on when one of them is gone, and what is stored is on all three."),
    element(
      "ol",
      "steps",
      element("li", "", "Give each node, in its settings, the same ", code("cluster.name"), ", ", code("cluster.peers"), " and ", code("cluster.secret"), ", and a ", code("cluster.node"), " of its own."),
      element("li", "", "Stop this one, and start the three together. What it has it brings along."),
    ),
    element("p", "hint", "All of it is described in docs/cluster.md."),
  );
}
