import { element, setText } from "../dom.js";
import { capital, withStop } from "../words.js";
import type { Domains } from "./answers.js";
import { fillBadge, linksTable, neighboursTable, waysTable } from "./domaintables.js";
import { ago, count, plural } from "../format.js";
import { linksOf, looks, nearest, type ShownLink } from "./network.js";
import { NetworkPicture, sample } from "./networkpicture.js";
import { card, Freshness, pageHead, type Desk, type Page } from "./page.js";
import { Poll } from "./poll.js";
import { fillTime } from "./times.js";
import { Tracing } from "./tracing.js";

/** How many domains are drawn, on a desk and on a phone: of more nobody sees anything. The tables have all. */
const mostDrawn = { wide: 60, narrow: 14 };
/** How many links the table has: with thousands every look at it would hang. */
const mostLinks = 500;

/** The network of domains: a picture, neighbours, ways, and the description. */
export function domainsPage(desk: Desk, user: string): Page {
  const title = "Domains";
  if (!desk.own.admin) {
    const only = element("p", "lacks", "The network is everybody's: it is shown to admin keys only, and the one that you are signed in with is an app's.");
    return { title, element: element("div", "page", pageHead(title), card("Network", only)) };
  }
  return { title, element: new DomainsPage(desk, user).element };
}

class DomainsPage {
  readonly element: HTMLElement;
  readonly #desk: Desk;
  readonly #freshness = new Freshness();
  readonly #parts = element("div", "page", element("p", "muted", "Loading …"));
  readonly #picture: NetworkPicture;
  readonly #left = element("p", "hint");
  readonly #neighbours = neighboursTable();
  readonly #ways = waysTable();
  readonly #links = linksTable();
  readonly #moreLinks = element("p", "hint");
  readonly #details: HTMLDetailsElement;
  readonly #facts = new Map<string, HTMLElement>();
  readonly #description: HTMLElement;
  readonly #tracing: Tracing;
  readonly #poll: Poll;
  /** Which parts are there now. */
  #shown = "";
  #allLinks: ShownLink[] = [];

  constructor(desk: Desk, user: string) {
    this.#desk = desk;
    this.#picture = new NetworkPicture(desk.signal);
    this.#tracing = new Tracing(desk, user, () => this.#poll.now());
    this.#details = element("details", "all-links", element("summary", "", "All links as a table"), this.#links.element, this.#moreLinks);
    this.#details.addEventListener("toggle", () => this.#showLinks());
    const facts = element("dl", "facts");
    for (const fact of ["This domain", "Version", "Comes from", "Changes", "In effect", "Confirmed", "Trouble"]) {
      const value = element("dd", "", "–");
      this.#facts.set(fact, value);
      facts.append(element("dt", "", fact), value);
    }
    this.#description = card("Description", facts);
    this.element = element("div", "page", pageHead("Domains", this.#freshness.element), this.#parts);
    this.#poll = new Poll((signal) => this.#look(signal), (problem) => this.#freshness.show(problem), desk.signal);
  }

  async #look(signal: AbortSignal): Promise<void> {
    const [answer, path] = await Promise.all([this.#desk.api.get<Domains>("/domains", { signal }), this.#tracing.look(signal)]);
    if (signal.aborted) return;
    if (answer.source === undefined) return this.#arrange("none", () => [aboutDomains(answer.domain)]);
    this.#describe(answer, answer.source);
    if (answer.source.since === undefined) return this.#arrange("undescribed", () => [card("Network", noDescription()), this.#description]);
    this.#arrange("network", () => [
      element("div", "network-columns", this.#network(), element("div", "stack", this.#tracing.element, this.#description)),
      card("Neighbours", element("p", "hint", directions), this.#neighbours.element),
      card("Ways", this.#ways.element),
    ]);
    this.#neighbours.show(answer.neighbours);
    this.#ways.show(answer.domains);
    this.#allLinks = linksOf(answer);
    this.#showLinks();
    this.#draw(answer, path);
  }

  /** Puts other parts in place; the same ones are left alone. */
  #arrange(what: string, parts: () => HTMLElement[]): void {
    if (what === this.#shown) return;
    this.#shown = what;
    this.#parts.replaceChildren(...parts());
  }

  #network(): HTMLElement {
    const legend = element("ul", "network-legend", ...looks.map(([look, words]) => element("li", "", sample(look), element("span", "", words))));
    legend.ariaLabel = "How links are drawn";
    return card("Network", this.#picture.element, this.#left, legend, this.#details);
  }

  #draw(answer: Domains, path: readonly string[]): void {
    const names = nearest(answer, innerWidth < 700 ? mostDrawn.narrow : mostDrawn.wide);
    const there = new Set(names);
    const links = this.#allLinks.filter(({ n1, n2 }) => there.has(n1) && there.has(n2));
    const all = answer.domains.length + 1;
    this.#left.hidden = names.length === all;
    setText(this.#left, `The picture has the nearest ${count(names.length)} of ${plural(all, "domain")}; the tables have all.`);
    this.#picture.show({ self: answer.domain ?? "", names, links, path });
  }

  /** Fills the table that is the picture's equal, while it is open. */
  #showLinks(): void {
    if (!this.#details.open) return;
    this.#links.show(this.#allLinks.slice(0, mostLinks));
    const more = this.#allLinks.length - mostLinks;
    this.#moreLinks.hidden = more <= 0;
    setText(this.#moreLinks, `And ${plural(more, "link")} between others.`);
  }

  #describe({ domain = "", version }: Domains, source: NonNullable<Domains["source"]>): void {
    const served = /^https?:/.test(source.from);
    this.#set("This domain", domain);
    this.#set("Version", version === 0 ? (source.since === undefined ? "none yet" : "none: a file has no version") : String(version));
    this.#set("Comes from", source.from);
    this.#set("Changes", changesWords(served, source.following));
    const at = (fact: string, time: string | undefined, otherwise: string): void => {
      const where = this.#facts.get(fact);
      if (where !== undefined) fillTime(where, time, otherwise);
    };
    at("In effect", source.since, "not yet");
    at("Confirmed", source.confirmed, source.stored ? "not since the start: it is the last good copy" : "not yet");
    const trouble = this.#facts.get("Trouble");
    if (trouble === undefined) return;
    const since = source.troubledAt === undefined ? "" : ` It began ${ago(Date.parse(source.troubledAt), Date.now())}.`;
    if (source.trouble === undefined) fillBadge(trouble, "good", "none");
    else fillBadge(trouble, "bad", `${capital(withStop(source.trouble))} (${source.kind ?? "unknown"})${since}`);
  }

  #set(fact: string, text: string): void {
    const where = this.#facts.get(fact);
    if (where !== undefined) setText(where, text);
  }
}

const directions =
  "A link has two directions. Receiving is the connection that this domain has made: it brings what the neighbour has for it. Sending is the one that the neighbour has made: it takes what waits here.";

function changesWords(served: boolean, following: boolean): string {
  if (!served) return "read at the start, and on SIGHUP";
  return following ? "told at once" : "not told: asked for again and again";
}

function noDescription(): HTMLElement {
  return element("p", "empty-list", "There is no description of the network yet: nobody can sign in before there is one. The node goes on asking.");
}

/** What stands in place of a network where there is none. */
function aboutDomains(name = ""): HTMLElement {
  const own = name === "" ? "" : ` It is called ${name}; that is just a name.`;
  const code = (text: string): HTMLElement => element("code", "", text);
  return card(
    "No other domains",
    element("p", "", `This server is linked to no other.${own}`),
    element("p", "", "A domain is a site: nodes and stores of its own, and its share of the users. Domains that are linked into a network reach each other's users: messages go from domain to domain, and wait in front of a link that is down."),
    element(
      "ol",
      "steps",
      element("li", "", "Write down the domains, their URLs and links, and which users live where, and serve that to all of them: ", code("switchboard meta --config network.yaml"), "."),
      element("li", "", "Give each domain, in its settings, its name (", code("domain"), "), the meta server's URL (", code("meta"), ") and the secret of its links (", code("links.secret"), ")."),
      element("li", "", "Start it again. This page then shows the network."),
    ),
    element("p", "hint", "All of it is described in docs/domains.md and docs/meta.md."),
  );
}
