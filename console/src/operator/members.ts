import type { Cluster, Member, Share } from "./answers.js";
import { count, duration, plural } from "../format.js";

// What the answer about the cluster means, in words. Nothing here touches the page.

export type Look = "good" | "warn" | "bad" | "quiet";

/** A node as the table has it: a member, or one that is none any more, and counts. */
export interface ShownMember {
  key: string;
  name: string;
  self: boolean;
  address: string;
  look: Look;
  status: string;
  since: string | undefined;
  reason: string;
  roles: string;
  version: string;
  /** It runs another version than most. */
  odd: boolean;
  sessions: string;
  load: string;
  copies: string;
}

export interface Line {
  look: Look;
  words: string;
}

const looks: Readonly<Record<string, Look>> = { joining: "warn", up: "good", leaving: "warn", unreachable: "bad" };

/** How many names a sentence has, before it counts the others. */
const mostNamed = 5;

const unknown = "–";

/** All nodes by name, those that are gone among them. */
export function rowsOf({ members, store }: Cluster): ShownMember[] {
  const usual = usualVersion(members);
  const there = new Set(members.map(({ name }) => name));
  const rows = members.map((one) => {
    // What one that nobody hears said last of how busy it is, is not so any more.
    const heard = one.status !== "unreachable" || one.self === true;
    return {
      key: one.id,
      name: one.name,
      self: one.self === true,
      address: one.address,
      look: looks[one.status] ?? "quiet",
      status: one.status,
      since: one.since,
      reason: one.reason ?? "",
      roles: one.roles.join(", "),
      version: one.version,
      odd: usual !== undefined && runs(one) && one.version !== usual,
      sessions: heard ? count(one.sessions) : unknown,
      load: heard ? one.load.toFixed(2) : unknown,
      copies: copiesWords(one.copies, heard),
    };
  });
  const gone = (store?.gone ?? []).filter(({ name }) => !there.has(name));
  return [
    ...rows,
    ...gone.map((one) => ({
      key: `gone ${one.name}`,
      name: one.name,
      self: false,
      address: "",
      look: "bad" as const,
      status: "not there",
      since: one.since,
      reason: "",
      roles: "processor",
      version: unknown,
      odd: false,
      sessions: unknown,
      load: unknown,
      copies: count(one.streams),
    })),
  ].sort((a, b) => compare(a.name, b.name) || compare(a.key, b.key));
}

/** How many there are, and who is not up. Without times: it is read aloud when it changes. */
export function summaryOf(cluster: Cluster): string {
  const rows = rowsOf(cluster);
  const [only] = rows;
  const others = rows.filter(({ status }) => status !== "up");
  if (rows.length === 1 && only !== undefined) return `One node, ${only.name}: ${only.status}.`;
  const nodes = plural(rows.length, "node");
  if (others.length === 0) return `${nodes}, all up.`;
  const named = others.slice(0, mostNamed).map(({ name, status }) => `${name} is ${status}`);
  const more = others.length - named.length;
  return `${nodes}, ${count(rows.length - others.length)} up. ${[...named, ...(more > 0 ? [`${count(more)} more are not up`] : [])].join(", ")}.`;
}

/** Which versions run where, if there are several; empty otherwise. */
export function versionsWords(members: readonly Member[]): string {
  const at = byVersion(members);
  if (at.size < 2) return "";
  const each = [...at].sort((a, b) => b[1].length - a[1].length || compare(a[0], b[0])).map(([version, list]) => `${version} on ${together(list)}`);
  return `${count(at.size)} versions run: ${each.join("; ")}.`;
}

/** How what is stored stands, and whom not to stop now. */
export function storeLines(cluster: Cluster, now: number): Line[] {
  const { members, store } = cluster;
  if (store === undefined) {
    return [{ look: "quiet", words: "Where the copies of what is stored are is not known now. Of a NATS of your own these nodes never know it: its own tools show it." }];
  }
  const short = store.short.length;
  const waiting = short - store.due.length;
  const copying = store.due.length > 0 ? ` ${isAre(store.due.length)} being copied now.` : "";
  const wait = waiting > 0 ? ` ${waiting === 1 ? "1 waits" : `${count(waiting)} wait`} for a node that is away.` : "";
  const whole: Line =
    short === 0
      ? { look: "good", words: `All ${plural(store.streams, "stream")} have all their copies.` }
      : { look: "warn", words: `${count(store.streams - short)} of ${plural(store.streams, "stream")} have all their copies.${copying}${wait}` };
  const away = awayOf(cluster);
  const live = members.filter((one) => isProcessor(one) && one.status !== "unreachable").map(({ name }) => name);
  return [whole, ...away.map((one) => awayLine(one, now)), stopLine(live, short, away.length)];
}

interface Away {
  name: string;
  since: string | undefined;
  /** The streams' leaders miss it, too. */
  counts: boolean;
}

/** The processors that are not there. */
function awayOf({ members, store }: Cluster): Away[] {
  const gone = store?.gone ?? [];
  const unreachable = members.filter((one) => isProcessor(one) && one.status === "unreachable");
  const silent = unreachable.map(({ name, since }) => ({ name, since, counts: gone.some((one) => one.name === name) }));
  const others = gone.filter(({ name }) => !unreachable.some((one) => one.name === name));
  return [...silent, ...others.map(({ name, since }) => ({ name, since, counts: true }))];
}

function awayLine({ name, since, counts }: Away, now: number): Line {
  const is = since === undefined ? "is away" : `has been away for ${duration((now - Date.parse(since)) / 1000)}`;
  const remedy = counts ? ` Start it again; if it is gone for good: switchboard cluster remove ${name}` : "";
  return { look: "bad", words: `${name} ${is}, and counts for a majority.${remedy}` };
}

function stopLine(live: readonly string[], short: number, away: number): Line {
  if (away > 0) return { look: "bad", words: `Do not stop ${together(live, "or")} now: without ${live.length === 1 ? "it" : "another one"} there may be no majority.` };
  if (short > 0) return { look: "warn", words: `Do not stop ${together(live, "or")} before all streams have all their copies.` };
  if (live.length === 1) return { look: "quiet", words: `Only ${live[0] ?? ""} stores: while it is stopped nothing is accepted.` };
  if (live.length === 2) return { look: "warn", words: `${together(live)} need each other: while one is stopped nothing is accepted.` };
  return { look: "good", words: "Any one node may be stopped now." };
}

/** The version that most nodes run; of two that are as frequent the one of the node that answers. */
function usualVersion(members: readonly Member[]): string | undefined {
  const at = byVersion(members);
  const own = members.find(({ self }) => self === true)?.version;
  return [...at].sort((a, b) => b[1].length - a[1].length || Number(b[0] === own) - Number(a[0] === own))[0]?.[0];
}

/** The names of those that run, by version. */
function byVersion(members: readonly Member[]): Map<string, string[]> {
  const at = new Map<string, string[]>();
  for (const { version, name } of members.filter(runs)) at.set(version, [...(at.get(version) ?? []), name]);
  return at;
}

/** Whether it is known to be running: one that is away may come back with another version. */
function runs({ status, self }: Member): boolean {
  return status !== "unreachable" || self === true;
}

function isProcessor({ roles }: Member): boolean {
  return roles.includes("processor");
}

/** Those of one that is away are no copies of what came since: that goes without saying. */
function copiesWords(share: Share | undefined, heard: boolean): string {
  if (share === undefined) return unknown;
  return share.behind === 0 || !heard ? count(share.streams) : `${count(share.streams)}, ${count(share.behind)} not complete`;
}

function isAre(n: number): string {
  return n === 1 ? "1 is" : `${count(n)} are`;
}

/** "a", "a and b", "a, b and c"; of many the first ones and how many more. */
function together(names: readonly string[], word = "and"): string {
  const shown = names.length > mostNamed ? [...names.slice(0, mostNamed), `${count(names.length - mostNamed)} more`] : names;
  return shown.length < 2 ? shown.join("") : `${shown.slice(0, -1).join(", ")} ${word} ${shown.at(-1) ?? ""}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
