import { element, setText } from "../dom.js";
import type { LinkState, Neighbour, OtherDomain } from "./answers.js";
import { count, seconds } from "../format.js";
import { mostHops, pathWords, waitingWords, type LinkLook, type ShownLink } from "./network.js";
import { Table } from "../table.js";
import { fillTime } from "./times.js";

/** The domains that this one has links to: both directions, and what waits. */
export function neighboursTable(): Table<Neighbour> {
  return new Table<Neighbour>({
    caption: "Neighbours, by name",
    keyOf: ({ domain }) => domain,
    empty: "This domain has no links.",
    columns: [
      { head: "Neighbour", className: "first named", fill: (cell, { domain, receiving }) => fillNamed(cell, domain, receiving.url ?? "") },
      { head: "Cost", className: "number", fill: (cell, { cost }) => setText(cell, count(cost)) },
      { head: "Receiving", className: "link-state", fill: (cell, { receiving }) => fillLinkState(cell, receiving) },
      { head: "Sending", className: "link-state", fill: (cell, { sending }) => fillLinkState(cell, sending) },
      { head: "Round trip", className: "number", fill: (cell, { roundTripMs }) => setText(cell, roundTripMs === undefined ? "–" : seconds(roundTripMs / 1000)) },
      { head: "Waiting for it", fill: (cell, { waiting }) => setText(cell, waitingWords(waiting.messages, waiting.bytes)) },
      { head: "Oldest", className: "time", fill: (cell, { waiting }) => fillTime(cell, waiting.oldest) },
    ],
  });
}

/** The ways to all others. */
export function waysTable(): Table<OtherDomain> {
  return new Table<OtherDomain>({
    caption: "Ways to other domains, by name",
    keyOf: ({ domain }) => domain,
    empty: "There are no other domains.",
    columns: [
      { head: "Domain", className: "first named", fill: (cell, { domain, urls }) => fillNamed(cell, domain, urls.join(" ")) },
      { head: "Next", fill: (cell, { next, domain }) => setText(cell, next === domain ? "directly" : next) },
      { head: "Path", className: "path", fill: fillPath },
      { head: "Cost", className: "number", fill: (cell, { cost }) => setText(cell, count(cost)) },
    ],
  });
}

/** What the picture shows, as a table: all links. */
export function linksTable(): Table<ShownLink> {
  return new Table<ShownLink>({
    caption: "Links of the network, those of this domain first",
    keyOf: ({ n1, n2 }) => `${n1} ${n2}`,
    empty: "There are no links.",
    columns: [
      { head: "From", className: "first", fill: (cell, { n1 }) => setText(cell, n1) },
      { head: "To", fill: (cell, { n2 }) => setText(cell, n2) },
      { head: "Cost", className: "number", fill: (cell, { cost }) => setText(cell, count(cost)) },
      { head: "State", fill: (cell, { look, state }) => (look === "foreign" ? setText(cell, "known to these two") : fillBadge(cell, shapes[look], state)) },
      { head: "Waiting", fill: (cell, { look, waiting, waitingBytes }) => setText(cell, look === "foreign" ? "–" : waitingWords(waiting, waitingBytes)) },
    ],
  });
}

/** The badges of a link's looks. */
const shapes: Readonly<Record<LinkLook, string>> = { up: "good", half: "warn", held: "warn", down: "bad", foreign: "quiet" };

function fillNamed(cell: HTMLElement, name: string, more: string): void {
  if (cell.firstElementChild === null) cell.append(element("div", "two-lines", element("span"), element("code", "id")));
  const [first, second] = cell.querySelectorAll<HTMLElement>(".two-lines > *");
  if (first === undefined || second === undefined) return;
  setText(first, name);
  setText(second, more);
}

function fillPath(cell: HTMLElement, { path }: OtherDomain): void {
  const tooFar = path.length - 1 > mostHops;
  cell.classList.toggle("over", tooFar);
  setText(cell, tooFar ? `${pathWords(path)}, too far: ${mostHops} links are allowed` : pathWords(path));
}

/** One direction of a link: a word, since when, on which node, and why it is not up. */
export function fillLinkState(cell: HTMLElement, { state, since, why = "", node = "" }: LinkState): void {
  if (cell.querySelector(".two-lines") === null) {
    cell.replaceChildren(element("div", "two-lines", element("span", "link-badge"), element("span", "since"), element("span", "reason")));
  }
  const [badge, when, reason] = [".link-badge", ".since", ".reason"].map((name) => cell.querySelector<HTMLElement>(name));
  if (badge === null || badge === undefined || when === null || when === undefined || reason === null || reason === undefined) return;
  fillBadge(badge, state === "up" ? "good" : state === "waiting" ? "warn" : "bad", state === "waiting" ? "held" : state);
  when.hidden = since === undefined && node === "";
  if (since === undefined) setText(when, node === "" ? "" : `on ${node}`);
  else {
    if (when.querySelector("time") === null) when.replaceChildren(element("span"), element("span"));
    const [time, where] = when.querySelectorAll<HTMLElement>(":scope > span");
    if (time !== undefined) fillTime(time, since);
    if (where !== undefined) setText(where, node === "" ? "" : `, on ${node}`);
  }
  reason.hidden = why === "";
  setText(reason, why);
}

export function fillBadge(where: HTMLElement, shape: string, words: string): void {
  let badge = where.querySelector<HTMLElement>(".state");
  if (badge === null) {
    badge = element("span");
    where.replaceChildren(badge);
  }
  badge.className = `state ${shape}`;
  setText(badge, words);
}
