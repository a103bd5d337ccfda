import assert from "node:assert/strict";
import { test } from "node:test";
import type { Relay, RelayMember, RelayProgram, RelayReport } from "../src/operator/answers.js";
import { clustersSummary, collectorsOf, failuresOf, mostRows, programsOf, targetsOf, uploadersSummary } from "../src/operator/relaywords.js";

const none = { files: 0, bytes: 0, oldestSeconds: 0 };

function report(more: Partial<RelayReport> = {}): RelayReport {
  return {
    program: "collector", id: "c1", host: "store7", spool: "/in", version: "v1", files: 1200, bytes: 2048, filesPerSecond: 1.5, bytesPerSecond: 1024,
    waiting: none, leftAlone: 0, targets: [], failures: [], ...more,
  };
}

const program = (more: Partial<RelayProgram> = {}): RelayProgram => ({ ...report({ program: "uploader", id: "u1", host: "field3", spool: "/out" }), silent: false, seen: "2026-11-26T08:00:00Z", ...more });
const member = (id: string, more: Partial<RelayMember> = {}): RelayMember => ({ id, address: "10.0.0.7", port: 9300, state: "up", since: "2026-11-26T07:00:00Z", report: report({ id }), ...more });
const relay = (more: Partial<Relay> = {}): Relay => ({ network: "n:9200", version: "v1", clusters: [], programs: [], ...more });

test("a collector is shown with what lies in its spool, and one that is lost without a rate", () => {
  const waiting = { files: 1, bytes: 512, oldestSeconds: 61 };
  const [busy, lost, full, stranger] = collectorsOf(relay({
    clusters: [{ name: "a", members: [member("1", { report: report({ waiting }) }), member("2", { state: "lost" }), member("3", { report: report({ full: "the disk is full", fullSince: "2026-11-26T07:20:00Z" }) }), { id: "4", address: "::1", port: 9, state: "up" }] }],
  }));
  assert.deepEqual(busy, {
    key: "a\n1", cluster: "a", id: "1", address: "10.0.0.7:9300", look: "good", state: "up", since: "2026-11-26T07:00:00Z", reason: "",
    waiting: "1 file, 512 B", oldest: "the oldest for 1 min 1 s", rate: ["1.5 files/s", "1 KiB/s"], stored: ["1,200 files", "2 KiB"], version: "v1",
  });
  assert.deepEqual([lost?.look, lost?.state, lost?.rate, lost?.waiting], ["bad", "lost", ["–", ""], "nothing"]);
  assert.deepEqual([full?.look, full?.state, full?.reason, full?.since], ["warn", "full", "the disk is full", "2026-11-26T07:20:00Z"]);
  assert.deepEqual([stranger?.address, stranger?.look, stranger?.waiting, stranger?.version, stranger?.since], ["[::1]:9", "good", "–", "–", undefined]);
  assert.match(stranger?.reason ?? "", /of another make/);
});

test("a collector that does not report has just come only for three heartbeats", () => {
  const stranger = (seen: string): RelayMember => ({ id: "1", address: "h", port: 1, state: "up", since: "2026-11-26T07:00:00Z", seen });
  const reasons = collectorsOf(relay({ clusters: [{ name: "a", members: [stranger("2026-11-26T07:00:14Z"), stranger("2026-11-26T07:00:15Z")] }] })).map(({ reason }) => reason);
  assert.deepEqual(reasons, ["does not report: of another make, or it has just come", "does not report: most likely of another make"]);
});

test("a sentence says how many collectors there are, and which are not well", () => {
  assert.equal(clustersSummary(relay()), "No cluster is known.");
  assert.equal(clustersSummary(relay({ clusters: [{ name: "a", members: [] }] })), "1 cluster, without a collector.");
  assert.equal(clustersSummary(relay({ clusters: [{ name: "a", members: [member("1")] }] })), "1 cluster, 1 collector, up.");
  assert.equal(clustersSummary(relay({ clusters: [{ name: "a", members: [member("1"), member("2", { state: "lost" })] }, { name: "b", members: [] }] })), "2 clusters, 2 collectors, 1 up. a/2 is lost, b has no collector.");
  const many = Array.from({ length: mostRows + 1 }, (_, i) => member(String(i), { state: "lost" }));
  const huge = relay({ clusters: [{ name: "a", members: many }] });
  assert.match(clustersSummary(huge), /, 496 more are not well\. The first 500 are shown\.$/);
  assert.equal(collectorsOf(huge).length, mostRows);
});

test("uploaders and makers are told apart, and those that are silent stand out", () => {
  const all = relay({ programs: [program(), program({ id: "u2", host: "field4", silent: true }), program({ program: "maker", id: "m", host: "field5" })] });
  assert.deepEqual(programsOf(all, "uploader").map(({ host, look, state, since }) => [host, look, state, since]), [["field3", "good", "up", undefined], ["field4", "bad", "silent", "2026-11-26T08:00:00Z"]]);
  assert.deepEqual(programsOf(all, "maker").map(({ host }) => host), ["field5"]);
  assert.equal(uploadersSummary(all), "2 uploaders, 1 silent.");
  assert.equal(uploadersSummary(relay({ programs: [program()] })), "1 uploader, up.");
  assert.equal(uploadersSummary(relay()), "No uploader reports.");
});

test("what waits for whom has trouble first", () => {
  const target = (id: string, state: string, files: number): RelayProgram["targets"][number] => ({ cluster: "a", id, address: "h:1", state, waiting: { ...none, files }, bytesPerSecond: 0, ...(state === "down" ? { reason: "refused" } : {}) });
  const rows = targetsOf(relay({ programs: [program({ targets: [target("1", "up", 0), target("2", "up", 3), target("3", "down", 9), target("4", "held", 0), { ...target("", "none", 1), cluster: "b" }] }), program({ id: "u2", silent: true, targets: [target("5", "up", 0)] })] }));
  assert.deepEqual(rows.map(({ to, state, look, reason }) => [to, state, look, reason]), [
    ["a/3", "down", "bad", "refused"], ["b", "no collector", "bad", ""], ["a/4", "held", "warn", ""], ["a/2", "up", "good", ""], ["a/1", "up", "good", ""], ["a/5", "was up", "quiet", ""],
  ]);
});

test("failures of all are in one list, the newest first", () => {
  const failure = (at: string, name: string, final = false): RelayReport["failures"][number] => ({ at, name, where: name === "" ? "" : "a/1", reason: "refused", final });
  const rows = failuresOf(relay({
    clusters: [{ name: "a", members: [member("1", { report: report({ failures: [failure("2026-11-26T07:30:00.000Z", ""), { ...failure("2026-11-26T06:00:00.000Z", "full"), where: "10.0.0.3", count: 1200 }] }) })] }],
    programs: [program({ failures: [failure("2026-11-26T08:00:00.000Z", "new", true), failure("2026-11-26T07:00:00.000Z", "old")] })],
  }));
  assert.deepEqual(rows.map(({ name, note, to, sender, by }) => [name, note, to, sender, by]), [
    ["new", "moved to failed/", "a/1", "", "uploader on field3"], ["–", "", "its own spool", "", "collector on store7"],
    ["old", "", "a/1", "", "uploader on field3"], ["full", "the last of 1,200", "a/1", "from 10.0.0.3", "collector on store7"],
  ]);
});

test("a failure says whom it is about: the network server, a spool, or those that its reason names", () => {
  const failure = (where: string, final: boolean): RelayReport["failures"][number] => ({ at: "2026-11-26T07:00:00.000Z", name: "", where, reason: "refused", final });
  const rows = failuresOf(relay({
    programs: [program({ host: "a", failures: [failure("the network server", false), failure("", false)] }), program({ host: "b", failures: [failure("", true)] }), program({ program: "maker", host: "c", failures: [failure("", true)] })],
  }));
  assert.deepEqual(rows.map(({ by, to, note, sender }) => [by, to, note, sender]).sort(), [
    ["maker on c", "its own spool", "left out", ""], ["uploader on a", "its own spool", "", ""], ["uploader on a", "the network server", "", ""], ["uploader on b", "–", "moved to failed/", ""],
  ]);
});
