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
    const heard = isThere(one);
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
      odd: usual !== undefined && heard && one.version !== usual,
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
export function storeLines(cluster: Cluster, now: number, calm: Calm | undefined): Line[] {
  const { store } = cluster;
  if (store === undefined) {
    return [{ look: "quiet", words: "Where the copies of what is stored are is not known now. Of a NATS of your own these nodes never know it: its own tools show it." }];
  }
  const short = store.short.length;
  const away = awayOf(cluster);
  const live = liveOf(cluster);
  if (lost(live.length, away.length)) return [majorityLine(live.length, away.map(({ name }) => name))];
  const whole: Line =
    short === 0
      ? { look: "good", words: `All ${plural(store.streams, "stream")} have all their copies.` }
      : { look: "warn", words: `${count(store.streams - short)} of ${plural(store.streams, "stream")} have all their copies.${shortWords(store, away)}` };
  const stop = stopLine(live, short, away.length > 0, outOfTouch(cluster));
  return [whole, ...away.map((one) => awayLine(one, now)), stop ?? calmLine(calm, now)];
}

/** Since when nothing speaks against stopping a node, and whether something was seen to do so before. */
export interface Calm {
  since: number;
  after: boolean;
}

/** What is known of copies is as old as their last word: after a change it has to have been so for so long. */
export const calmMs = 5_000;

/** Remembers for how long nothing speaks against stopping a node. */
export class Standing {
  readonly #longestMs: number;
  #calm: Calm | undefined;
  #lastAt: number | undefined;

  /** Between two answers that are farther apart anything may have been. */
  constructor(longestMs: number) {
    this.#longestMs = longestMs;
  }

  /** Takes an answer, and says how long it has been so. */
  see(cluster: Cluster, now: number): Calm | undefined {
    const gap = this.#lastAt === undefined || now - this.#lastAt > this.#longestMs;
    const before = this.#lastAt !== undefined && !gap && this.#calm === undefined;
    this.#lastAt = now;
    if (!isCalm(cluster)) this.#calm = undefined;
    else if (gap || this.#calm === undefined) this.#calm = { since: now, after: before };
    return this.#calm;
  }
}

/** Whether nothing speaks against stopping a node. */
function isCalm(cluster: Cluster): boolean {
  const away = awayOf(cluster);
  const live = liveOf(cluster);
  return cluster.store !== undefined && stopLine(live, cluster.store.short.length, away.length > 0, outOfTouch(cluster)) === undefined;
}

interface Away {
  name: string;
  since: string | undefined;
  /** The streams' leaders miss it, too. */
  counts: boolean;
  /** Of how many streams it has copies; undefined: that is not known. */
  streams: number | undefined;
}

/** The processors that are not there. The node that answers is, even if it has lost touch with the others. */
function awayOf({ members, store }: Cluster): Away[] {
  const here = members.filter(({ self }) => self === true).map(({ name }) => name);
  const gone = (store?.gone ?? []).filter(({ name }) => !here.includes(name));
  const unreachable = members.filter((one) => isProcessor(one) && !isThere(one));
  const silent = unreachable.map(({ name, since, copies }) => ({ name, since, counts: gone.some((one) => one.name === name), streams: copies?.streams }));
  const others = gone.filter(({ name }) => !unreachable.some((one) => one.name === name));
  return [...silent, ...others.map(({ name, since, streams }) => ({ name, since, counts: true, streams }))];
}

/** The processors that are there. */
function liveOf({ members }: Cluster): string[] {
  return members.filter((one) => isProcessor(one) && isThere(one)).map(({ name }) => name);
}

/** Whether it is known to be running: one that is away may come back with another version. */
function isThere({ status, self }: Member): boolean {
  return status !== "unreachable" || self === true;
}

/** Whether the node that answers has lost the others: what it knows of them is old. */
function outOfTouch({ members }: Cluster): boolean {
  return members.some(({ status, self }) => self === true && status === "unreachable");
}

/** Whether those that are there are no majority, however many have copies of a stream. */
function lost(live: number, away: number): boolean {
  return away > live || (away > 0 && live === 1);
}

function majorityLine(live: number, away: readonly string[]): Line {
  const missing = Math.floor((live + away.length) / 2) + 1 - live;
  const whom = missing === 1 ? together(away, "or") : missing >= away.length ? together(away) : `${count(missing)} of ${together(away)}`;
  return { look: "bad", words: `There is no majority, so nothing is accepted: start ${whom}.` };
}

/** What comes of the streams that lack copies. One that has a copy on a node that is away waits for it, whatever else is meant to be done. */
function shortWords({ short, due }: NonNullable<Cluster["store"]>, away: readonly Away[]): string {
  const kept = away.reduce((sum, { streams }) => sum + (streams ?? Number.POSITIVE_INFINITY), 0);
  const copied = Math.min(due.length, Math.max(short.length - kept, 0));
  const waiting = short.length - copied;
  const copying = copied > 0 ? ` ${isAre(copied)} being copied now.` : "";
  const whom = away.length === 0 ? "a node that is away" : together(away.map(({ name }) => name));
  return `${copying}${waiting > 0 ? ` ${waiting === 1 ? "1 waits" : `${count(waiting)} wait`} for ${whom}.` : ""}`;
}

function awayLine({ name, since, counts }: Away, now: number): Line {
  const is = since === undefined ? "is away" : `has been away for ${duration((now - Date.parse(since)) / 1000)}`;
  const remedy = counts ? ` Start it again; if it is gone for good: switchboard cluster remove ${name}` : "";
  return { look: "bad", words: `${name} ${is}, and counts for a majority.${remedy}` };
}

/** What speaks against stopping a node; undefined: nothing. */
function stopLine(live: readonly string[], short: number, away: boolean, alone: boolean): Line | undefined {
  if (alone) return { look: "bad", words: "Do not stop any node now: this one has lost touch with the others, and what it knows of them is old." };
  if (away) return { look: "bad", words: `Do not stop ${together(live, "or")} now: without another one there may be no majority.` };
  if (short > 0) return { look: "warn", words: `Do not stop ${together(live, "or")} before all streams have all their copies.` };
  if (live.length === 1) return { look: "quiet", words: `Only ${live[0] ?? ""} stores: while it is stopped nothing is accepted.` };
  if (live.length === 2) return { look: "warn", words: `${together(live)} need each other: while one is stopped nothing is accepted.` };
  return undefined;
}

function calmLine(calm: Calm | undefined, now: number): Line {
  if (calm !== undefined && now - calm.since >= calmMs) return { look: "good", words: "Any one node may be stopped now." };
  const why = calm?.after === true ? "this was not so a moment ago" : "it has to be seen for some seconds that this stays so";
  return { look: "warn", words: `Wait before you stop a node: ${why}.` };
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
  for (const { version, name } of members.filter(isThere)) at.set(version, [...(at.get(version) ?? []), name]);
  return at;
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
