import type { Domains, Neighbour, Trace } from "./answers.js";
import { bytes, count, plural, short } from "../format.js";

// What the answers about domains mean, in words. Nothing here touches the page.

/** How a link looks as a whole. */
export type LinkLook = "up" | "down" | "half" | "held" | "foreign";

/** What the looks are called in the legend. */
export const looks: readonly (readonly [look: LinkLook, words: string])[] = [
  ["up", "up"],
  ["half", "up one way only"],
  ["held", "held until the description is as new as the neighbour's"],
  ["down", "down: what is for it waits here"],
  ["foreign", "between others: how it is only they know"],
];

/** A link of the network as it is shown. */
export interface ShownLink {
  n1: string;
  n2: string;
  cost: number;
  look: LinkLook;
  /** In a word or two; of others' links nothing is known. */
  state: string;
  waiting: number;
  waitingBytes: number;
}

export function lookOf({ receiving, sending }: Pick<Neighbour, "receiving" | "sending">): { look: LinkLook; state: string } {
  if (receiving.state === "waiting") return { look: "held", state: "held" };
  const [brings, takes] = [receiving.state === "up", sending.state === "up"];
  if (brings && takes) return { look: "up", state: "up" };
  if (brings) return { look: "half", state: "only receiving" };
  return takes ? { look: "half", state: "only sending" } : { look: "down", state: "down" };
}

/** All links, those of this domain first, seen from it. */
export function linksOf({ domain, neighbours, links }: Pick<Domains, "domain" | "neighbours" | "links">): ShownLink[] {
  const known = new Map(neighbours.map((one) => [one.domain, one]));
  const own: ShownLink[] = [];
  const others: ShownLink[] = [];
  for (const { n1, n2, cost } of links) {
    const other = n1 === domain ? n2 : n1;
    const neighbour = n1 === domain || n2 === domain ? known.get(other) : undefined;
    if (domain === undefined || neighbour === undefined) others.push({ n1, n2, cost, look: "foreign", state: "", waiting: 0, waitingBytes: 0 });
    else own.push({ n1: domain, n2: other, cost, ...lookOf(neighbour), waiting: neighbour.waiting.messages, waitingBytes: neighbour.waiting.bytes });
  }
  return [...own, ...others];
}

/** The domains that are drawn: this one, and so many of those that are nearest. */
export function nearest({ domain = "", domains }: Pick<Domains, "domain" | "domains">, most: number): string[] {
  const sorted = [...domains].sort((a, b) => a.cost - b.cost || a.path.length - b.path.length || (a.domain < b.domain ? -1 : 1));
  return [domain, ...sorted.slice(0, most - 1).map((one) => one.domain)];
}

/** What stands on a link: its state and cost, and what waits. */
export function labelOf({ look, state, cost, waiting }: ShownLink): string[] {
  if (look === "foreign") return [`cost ${short(cost)}`];
  return [`${state}, cost ${short(cost)}`, ...(waiting === 0 ? [] : [`${short(waiting)} waiting`])];
}

/** A name of so many letters at most: its begin and its end, which tell names apart. */
export function cut(name: string, most: number): string {
  const half = Math.floor((most - 1) / 2);
  return name.length <= most ? name : `${name.slice(0, most - 1 - half)}…${name.slice(-half)}`;
}

/** What waits, in full. */
export function waitingWords(messages: number, size: number): string {
  return messages === 0 ? "nothing" : `${plural(messages, "message")}, ${bytes(size)}`;
}

/** The picture in a few sentences, for who does not see it. */
export function pictureWords(self: string, drawn: number, links: readonly ShownLink[]): string {
  const own = links.filter(({ look }) => look !== "foreign");
  const each = own.map(({ n2, state, waiting }) => `${n2} ${state}${waiting === 0 ? "" : `, ${count(waiting)} waiting`}`);
  const states = each.length === 0 ? "It has no links." : `Its links: ${each.slice(0, 12).join("; ")}${each.length > 12 ? "; and more" : ""}.`;
  return `Picture of ${plural(drawn, "domain")} and ${plural(links.length, "link")}. This domain is ${self}. ${states} The tables on this page say the same.`;
}

/** Over how many links a message goes at most. */
export const mostHops = 10;

/** A path in one line; of a long one its begin. */
export function pathWords(path: readonly string[]): string {
  const most = mostHops + 2;
  return path.length <= most ? path.join(" → ") : `${path.slice(0, most).join(" → ")} → … (${count(path.length - 1)} links)`;
}

/** Where a user lives, and what would become of a message to him now. */
export function traceWords({ userId, domain = "", local, path, next = "", sending }: Trace): { where: string; what: string; good: boolean } {
  if (local) return { where: `${userId} lives here${domain === "" ? "" : `, in ${domain}`}.`, what: "A message to this user crosses no link.", good: true };
  if (domain === "") return { where: `${userId} lives nowhere: no range of the app has this number.`, what: "A message is refused (NO_ROUTE).", good: false };
  const where = `${userId} lives in ${domain}.`;
  if (path.length === 0) return { where, what: "No way leads there: a message is refused (NO_ROUTE).", good: false };
  const hops = path.length - 1;
  if (hops > mostHops) return { where, what: `That is over ${plural(hops, "link")}, and ${mostHops} are allowed: a message is refused (TOO_MANY_HOPS).`, good: false };
  if (sending?.state === "up") return { where, what: `A message goes on its way to ${next} at once.`, good: true };
  return { where, what: `A message waits here until ${next} is connected.`, good: false };
}
