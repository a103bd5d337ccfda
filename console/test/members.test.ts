import assert from "node:assert/strict";
import { test } from "node:test";
import type { Cluster, Member } from "../src/operator/answers.js";
import { calmMs, rowsOf, Standing, storeLines, summaryOf, versionsWords } from "../src/operator/members.js";

const now = Date.parse("2026-11-26T08:00:00Z");

function node(name: string, more: Partial<Member> = {}): Member {
  const copies = { streams: 14, behind: 0 };
  return { id: `id-${name}`, name, address: `${name}:8088`, status: "up", roles: ["connector", "processor"], version: "v1", sessions: 7, load: 0.25, since: "2026-11-26T07:00:00Z", copies, ...more };
}

const whole = { streams: 14, short: [], due: [], gone: [] };
const away = { status: "unreachable", since: "2026-11-26T07:59:20Z" };
const words = (cluster: Cluster): string[] => storeLines(cluster, now, { since: now - calmMs, after: false }).map((line) => line.words);

test("a node is shown with all that it says, and what nobody hears any more is not", () => {
  const [up, lost] = rowsOf({ members: [node("a", { self: true, copies: { streams: 14, behind: 2 } }), node("b", away)] });
  assert.deepEqual(up, {
    key: "id-a", name: "a", self: true, address: "a:8088", look: "good", status: "up", since: "2026-11-26T07:00:00Z", reason: "",
    roles: "connector, processor", version: "v1", odd: false, sessions: "7", load: "0.25", copies: "14, 2 not complete",
  });
  assert.deepEqual([lost?.look, lost?.status, lost?.since, lost?.sessions, lost?.load], ["bad", "unreachable", "2026-11-26T07:59:20Z", "–", "–"]);
});

test("who is no member any more and counts all the same is shown once", () => {
  const gone = [{ name: "b", streams: 14, behind: 14 }, { name: "c", streams: 14, behind: 14, since: "2026-11-26T06:00:00Z" }];
  const rows = rowsOf({ members: [node("a"), node("d"), node("b", away)], store: { ...whole, gone } });
  assert.deepEqual(rows.map(({ name, status }) => `${name} ${status}`), ["a up", "b unreachable", "c not there", "d up"]);
  assert.deepEqual([rows[2]?.since, rows[2]?.version], ["2026-11-26T06:00:00Z", "–"]);
});

test("a sentence says how many nodes there are, and who is not up", () => {
  const three = [node("a"), node("b"), node("c")];
  assert.equal(summaryOf({ members: three }), "3 nodes, all up.");
  assert.equal(summaryOf({ members: [node("a")] }), "One node, a: up.");
  assert.equal(summaryOf({ members: [node("a"), node("b", { status: "leaving" }), node("c", away)] }), "3 nodes, 1 up. b is leaving, c is unreachable.");
  const many = Array.from({ length: 9 }, (_, i) => node(`n${i}`, i > 1 ? away : {}));
  assert.equal(summaryOf({ members: many }), "9 nodes, 2 up. n2 is unreachable, n3 is unreachable, n4 is unreachable, n5 is unreachable, n6 is unreachable, 2 more are not up.");
});

test("versions that differ stand out, whoever is away", () => {
  const members = [node("a", { self: true }), node("b", { version: "v2" }), node("c"), node("d", { ...away, version: "v0" })];
  assert.equal(versionsWords(members), "2 versions run: v1 on a and c; v2 on b.");
  assert.deepEqual(rowsOf({ members }).map(({ odd }) => odd), [false, true, false, false]);
  assert.equal(versionsWords([node("a"), node("d", { ...away, version: "v0" })]), "");
  // Of two the own one is the usual one.
  assert.deepEqual(rowsOf({ members: [node("a"), node("b", { version: "v2", self: true })] }).map(({ odd }) => odd), [true, false]);
});

test("it is said who may be stopped", () => {
  const three = [node("a"), node("b"), node("c"), node("x", { roles: ["connector"] })];
  assert.deepEqual(words({ members: three, store: whole }), ["All 14 streams have all their copies.", "Any one node may be stopped now."]);
  assert.deepEqual(words({ members: three, store: { ...whole, short: ["S", "T", "U"], due: ["S", "T"] } }), [
    "11 of 14 streams have all their copies. 2 are being copied now. 1 waits for a node that is away.",
    "Do not stop a, b or c before all streams have all their copies.",
  ]);
  assert.deepEqual(words({ members: [node("a"), node("b"), node("e"), node("c", away)], store: { ...whole, gone: [{ name: "c", streams: 14, behind: 14 }, { name: "d", streams: 1, behind: 1 }] } }), [
    "All 14 streams have all their copies.",
    "c has been away for 40 s, and counts for a majority. Start it again; if it is gone for good: switchboard cluster remove c",
    "d is away, and counts for a majority. Start it again; if it is gone for good: switchboard cluster remove d",
    "Do not stop a, b or e now: without another one there may be no majority.",
  ]);
  assert.deepEqual(words({ members: [node("a"), node("b")], store: whole }).at(-1), "a and b need each other: while one is stopped nothing is accepted.");
  assert.deepEqual(words({ members: [node("a"), node("x", { roles: ["connector"] })], store: whole }).at(-1), "Only a stores: while it is stopped nothing is accepted.");
  // A connector that is away is missed by nobody.
  assert.deepEqual(words({ members: [...three.slice(0, 3), node("x", { ...away, roles: ["connector"] })], store: whole }).at(-1), "Any one node may be stopped now.");
  assert.match(words({ members: three }).join(" "), /is not known now/);
});

test("nothing is said to be copied that waits for a node that is away", () => {
  const store = { ...whole, short: ["S", "T", "U"], due: ["S", "T"] };
  const first = (...members: Member[]): string | undefined => words({ members, store })[0];
  assert.equal(first(node("a"), node("b"), node("c", away)), "11 of 14 streams have all their copies. 3 wait for c.");
  assert.equal(first(node("a"), node("b"), node("c", { ...away, copies: { streams: 2, behind: 2 } })), "11 of 14 streams have all their copies. 1 is being copied now. 2 wait for c.");
  const silent = node("c", away);
  delete silent.copies;
  assert.equal(first(node("a"), node("b"), silent), "11 of 14 streams have all their copies. 3 wait for c.");
});

test("that a node may be stopped is said when it has been so for a while", () => {
  const store = { ...whole, gone: [] };
  const good: Cluster = { members: [node("a"), node("b"), node("c")], store };
  const bad: Cluster = { members: good.members, store: { ...store, short: ["S"] } };
  const standing = new Standing(10_000);
  const said = (cluster: Cluster, at: number): string | undefined => storeLines(cluster, now + at, standing.see(cluster, now + at)).at(-1)?.words;
  const yet = "Wait before you stop a node: it has to be seen for some seconds that this stays so.";
  const again = "Wait before you stop a node: this was not so a moment ago.";
  const may = "Any one node may be stopped now.";
  assert.deepEqual([0, 4_000, 6_000].map((at) => said(good, at)), [yet, yet, may]);
  assert.match(said(bad, 8_000) ?? "", /^Do not stop/);
  assert.deepEqual([10_000, 12_000, 14_999, 15_000].map((at) => said(good, at)), [again, again, again, may]);
  // While nobody looked anything may have been.
  assert.deepEqual([40_000, 44_000, 45_000].map((at) => said(good, at)), [yet, yet, may]);
});

test("without a majority it is said what to start, and nothing else", () => {
  const self = { ...away, self: true, reason: "this node has lost touch with the cluster" };
  const share = { streams: 14, behind: 14 };
  const gone = ["n1", "n2", "n3"].map((name) => ({ name, ...share }));
  assert.deepEqual(words({ members: [node("n1", self), node("n2", away), node("n3", away)], store: { ...whole, short: ["S"], gone } }), ["There is no majority, so nothing is accepted: start n2 or n3."]);
  assert.deepEqual(words({ members: [node("a"), node("b", away)], store: whole }), ["There is no majority, so nothing is accepted: start b."]);
  const five = [node("a", self), ...["b", "c", "d", "e"].map((name) => node(name, away))];
  assert.deepEqual(words({ members: five, store: whole }), ["There is no majority, so nothing is accepted: start 2 of b, c, d and e."]);
  // It has lost the others, and does not know it of them yet.
  const early = words({ members: [node("a", self), node("b"), node("c")], store: whole });
  assert.deepEqual(early, ["All 14 streams have all their copies.", "Do not stop any node now: this one has lost touch with the others, and what it knows of them is old."]);
});
