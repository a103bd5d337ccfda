import type { Relay, RelayFailure, RelayMember, RelayProgram, RelayReport, RelayTarget, RelayWaiting } from "./answers.js";
import { bytes, count, duration, plural, rate } from "../format.js";
import type { Look } from "./members.js";

// What the answer about the relay means, in words. Nothing here touches the page.

/** How many rows a table has: a network may have a hundred thousand collectors. */
export const mostRows = 500;

/** How many names a sentence has, before it counts the others. */
const mostNamed = 5;

/** One of ours reports with its heartbeats; three of them are 15 s, unless settings say otherwise. */
const firstReportMs = 15_000;

const unknown = "–";

/** What a cell has in two lines; the second may be empty. */
export type Two = readonly [string, string];

const notKnown: Two = [unknown, ""];

/** A collector as the table has it. */
export interface ShownCollector {
  key: string;
  cluster: string;
  id: string;
  address: string;
  look: Look;
  state: string;
  since: string | undefined;
  reason: string;
  waiting: string;
  oldest: string;
  rate: Two;
  stored: Two;
  version: string;
}

/** An uploader or a maker. */
export interface ShownProgram {
  key: string;
  host: string;
  spool: string;
  look: Look;
  state: string;
  since: string | undefined;
  waiting: string;
  oldest: string;
  rate: Two;
  done: Two;
  leftAlone: string;
  version: string;
}

/** What an uploader has for a collector. */
export interface ShownTarget {
  key: string;
  from: string;
  spool: string;
  to: string;
  address: string;
  look: Look;
  state: string;
  reason: string;
  waiting: string;
  oldest: string;
  rate: string;
}

export interface ShownFailure {
  key: string;
  at: string | undefined;
  name: string;
  /** What more there is to say of the file. */
  note: string;
  to: string;
  /** Who sent, as a collector sees it. */
  sender: string;
  reason: string;
  by: string;
  spool: string;
}

const targetLooks: Readonly<Record<string, Look>> = { up: "good", held: "warn", down: "bad", lost: "bad", none: "bad" };

/** All collectors, by cluster and ID. */
export function collectorsOf({ clusters }: Relay): ShownCollector[] {
  return clusters.flatMap(({ name, members }) => members.map((one) => collectorOf(name, one))).slice(0, mostRows);
}

function collectorOf(cluster: string, { id, address, port, state, since, seen, report }: RelayMember): ShownCollector {
  const lost = state !== "up";
  const full = !lost && report?.full !== undefined && report.full !== "";
  return {
    key: `${cluster}\n${id}`,
    cluster,
    id,
    address: hostPort(address, port),
    look: lost ? "bad" : full ? "warn" : "good",
    state: full ? "full" : state,
    since: full ? (report.fullSince ?? since) : since,
    reason: full ? (report.full ?? "") : !lost && report === undefined ? silenceWords(since, seen) : "",
    waiting: waitingWords(report?.waiting),
    oldest: oldestWords(report?.waiting),
    // What one that nobody hears said last is not so any more.
    rate: lost ? notKnown : rateWords(report),
    stored: doneWords(report),
    version: report?.version ?? unknown,
  };
}

/** Why a collector that is up has told nothing. Both times are by the clock of the network server. */
function silenceWords(since = "", seen = ""): string {
  const known = Date.parse(seen) - Date.parse(since);
  return known >= firstReportMs ? "does not report: most likely of another make" : "does not report: of another make, or it has just come";
}

/** How many clusters and collectors there are, and which are not well. Without times: it is read aloud when it changes. */
export function clustersSummary({ clusters }: Relay): string {
  const all = clusters.flatMap(({ name, members }) => members.map((one) => collectorOf(name, one)));
  if (all.length === 0) return clusters.length === 0 ? "No cluster is known." : `${plural(clusters.length, "cluster")}, without a collector.`;
  const ill = all.filter(({ look }) => look !== "good").map(({ cluster, id, state }) => `${cluster}/${id} is ${state}`);
  const empty = clusters.filter(({ members }) => members.length === 0).map(({ name }) => `${name} has no collector`);
  const head = `${plural(clusters.length, "cluster")}, ${plural(all.length, "collector")}`;
  const trouble = [...ill, ...empty];
  if (trouble.length === 0) return `${head}, ${all.length === 1 ? "up" : "all up"}.${cutWords(all.length)}`;
  const more = trouble.length - mostNamed;
  return `${head}, ${count(all.length - ill.length)} up. ${[...trouble.slice(0, mostNamed), ...(more > 0 ? [`${count(more)} more are not well`] : [])].join(", ")}.${cutWords(all.length)}`;
}

/** Says that a table has not all there is; empty if it has. */
function cutWords(all: number): string {
  return all > mostRows ? ` The first ${count(mostRows)} are shown.` : "";
}

/** The uploaders, or the makers, as they were given. */
export function programsOf({ programs }: Relay, program: string): ShownProgram[] {
  return programs.filter((one) => one.program === program).slice(0, mostRows).map(programOf);
}

function programOf(one: RelayProgram): ShownProgram {
  return {
    key: keyOf(one),
    host: one.host,
    spool: one.spool,
    look: one.silent ? "bad" : "good",
    state: one.silent ? "silent" : "up",
    since: one.silent ? one.seen : undefined,
    waiting: waitingWords(one.waiting),
    oldest: oldestWords(one.waiting),
    rate: one.silent ? notKnown : rateWords(one),
    done: doneWords(one),
    leftAlone: count(one.leftAlone),
    version: one.version,
  };
}

/** How many uploaders there are, and how many say nothing any more. It is read aloud when it changes, so what waits is not in it. */
export function uploadersSummary({ programs }: Relay): string {
  const uploaders = programs.filter(({ program }) => program === "uploader");
  if (uploaders.length === 0) return "No uploader reports.";
  const silent = uploaders.filter(({ silent }) => silent).length;
  const head = plural(uploaders.length, "uploader");
  return `${silent === 0 ? `${head}, ${uploaders.length === 1 ? "up" : "all up"}.` : `${head}, ${count(silent)} silent.`}${cutWords(uploaders.length)}`;
}

/** What uploaders have for whom; those first for whom something waits. */
export function targetsOf({ programs }: Relay): ShownTarget[] {
  const rows = programs.flatMap((one) => one.targets.map((target) => ({ target, row: targetOf(one, target) })));
  rows.sort((a, b) => worth(b.target) - worth(a.target) || compare(a.row.key, b.row.key));
  return rows.slice(0, mostRows).map(({ row }) => row);
}

/** Trouble is above what is well, and that above nothing. */
function worth({ state, waiting }: RelayTarget): number {
  return (state === "up" ? 0 : 2) + (waiting.files > 0 ? 1 : 0);
}

function targetOf(one: RelayProgram, target: RelayTarget): ShownTarget {
  return {
    key: `${keyOf(one)}\n${target.cluster}\n${target.id}`,
    from: one.host,
    spool: one.spool,
    to: target.state === "none" ? target.cluster : `${target.cluster}/${target.id}`,
    address: target.address,
    look: one.silent ? "quiet" : (targetLooks[target.state] ?? "quiet"),
    state: target.state === "none" ? "no collector" : one.silent ? `was ${target.state}` : target.state,
    reason: target.reason ?? "",
    waiting: waitingWords(target.waiting),
    oldest: oldestWords(target.waiting),
    rate: one.silent ? unknown : `${bytes(target.bytesPerSecond)}/s`,
  };
}

/** What went wrong, by anybody, the newest first. */
export function failuresOf({ clusters, programs }: Relay): ShownFailure[] {
  const collectors = clusters.flatMap(({ name, members }) => members.flatMap(({ id, report }) => (report === undefined ? [] : report.failures.map((one, i) => failureOf(report, one, i, `${name}/${id}`)))));
  const others = programs.flatMap((report) => report.failures.map((one, i) => failureOf(report, one, i)));
  const rows = [...collectors, ...others];
  return rows.sort((a, b) => compare(b.at ?? "", a.at ?? "") || compare(a.key, b.key)).slice(0, mostRows);
}

/** A collector says who sent; an uploader, to whom it did. */
function failureOf(report: RelayReport, { at, name, where, reason, final, count: times }: RelayFailure, i: number, collector?: string): ShownFailure {
  const own = where === "";
  return {
    key: `${keyOf(report)}\n${at ?? i}\n${name}\n${where}`,
    at,
    name: name === "" ? unknown : name,
    // What a maker gives up is a record, and lies nowhere.
    note: final ? (report.program === "maker" ? "left out" : "moved to failed/") : times !== undefined && times > 1 ? `the last of ${count(times)}` : "",
    // Whom a file that was given up did not reach is in the reason: it may be several.
    to: own ? (final && report.program === "uploader" ? unknown : "its own spool") : (collector ?? where),
    sender: own || collector === undefined ? "" : `from ${where}`,
    reason,
    by: `${report.program} on ${report.host}`,
    spool: report.spool,
  };
}

function keyOf({ program, host, spool, id }: RelayReport): string {
  return `${program}\n${host}\n${spool}\n${id}`;
}

function hostPort(address: string, port: number): string {
  return address.includes(":") && !address.startsWith("[") ? `[${address}]:${port}` : `${address}:${port}`;
}

function waitingWords(waiting: RelayWaiting | undefined): string {
  if (waiting === undefined) return unknown;
  return waiting.files === 0 ? "nothing" : `${plural(waiting.files, "file")}, ${bytes(waiting.bytes)}`;
}

function oldestWords(waiting: RelayWaiting | undefined): string {
  return waiting === undefined || waiting.files === 0 ? "" : `the oldest for ${duration(waiting.oldestSeconds)}`;
}

function rateWords(report: RelayReport | undefined): Two {
  return report === undefined ? notKnown : [`${rate(report.filesPerSecond)} files/s`, `${bytes(report.bytesPerSecond)}/s`];
}

function doneWords(report: RelayReport | undefined): Two {
  return report === undefined ? notKnown : [plural(report.files, "file"), bytes(report.bytes)];
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
