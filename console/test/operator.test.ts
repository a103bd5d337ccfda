import assert from "node:assert/strict";
import { test } from "node:test";
import type { Stats } from "../src/operator/answers.js";
import { problemOf } from "../src/api.js";
import { ago, bytes, count, duration, plural, rate, seconds, short } from "../src/format.js";
import { hrefOf, parseRoute, partOf, type Route } from "../src/operator/route.js";
import { Samples } from "../src/operator/series.js";
import { EventParser } from "../src/sse.js";

test("writes counts in full and in few characters", () => {
  assert.equal(count(1234567), "1,234,567");
  const cases: [number, string][] = [[0, "0"], [999, "999"], [999.6, "1 k"], [1000, "1 k"], [1249, "1.2 k"], [999_949, "999.9 k"], [999_951, "1 M"], [34_500_000, "34.5 M"], [2e15, "2,000 T"]];
  for (const [n, words] of cases) assert.equal(short(n), words);
});

test("writes rates so that small ones are seen", () => {
  const cases: [number, string][] = [[0, "0"], [0.01, "< 0.1"], [0.25, "0.3"], [7, "7"], [12.34, "12.3"], [99.96, "100"], [1234, "1.2 k"]];
  for (const [n, words] of cases) assert.equal(rate(n), words);
});

test("writes amounts of data", () => {
  const cases: [number, string][] = [[0, "0 B"], [1023, "1,023 B"], [1024, "1 KiB"], [1536, "1.5 KiB"], [64 * 1024 ** 2, "64 MiB"], [1024 ** 2 - 1, "1 MiB"], [3 * 1024 ** 4, "3 TiB"]];
  for (const [n, words] of cases) assert.equal(bytes(n), words);
});

test("writes short and long times", () => {
  const shortTimes: [number, string][] = [[0, "0"], [0.0001234, "123 µs"], [0.00123, "1.23 ms"], [0.0123, "12.3 ms"], [0.9999, "1 s"], [2.54, "2.5 s"]];
  for (const [s, words] of shortTimes) assert.equal(seconds(s), words);
  const longTimes: [number, string][] = [[0, "0 s"], [-3, "0 s"], [59.6, "1 min"], [3605, "1 h"], [3660, "1 h 1 min"], [273_600, "3 d 4 h"], [725, "12 min 5 s"]];
  for (const [s, words] of longTimes) assert.equal(duration(s), words);
});

test("says how long ago, and how soon", () => {
  const now = Date.parse("2026-11-26T12:00:00Z");
  const cases: [number, string][] = [[0, "just now"], [-4, "just now"], [30, "30 s ago"], [90, "1 min ago"], [7200, "2 h ago"], [90_000, "1 d ago"], [-90, "in 1 min"], [-90_000, "in 1 d"]];
  for (const [s, words] of cases) assert.equal(ago(now - s * 1000, now), words);
  assert.equal(plural(1, "session"), "1 session");
  assert.equal(plural(2000, "session"), "2,000 sessions");
});

test("addresses name pages, and back", () => {
  const routes: Route[] = [
    { page: "overview" },
    { page: "users", app: "" },
    { page: "users", app: "SHOP" },
    { page: "user", userId: "ANZ-7" },
    { page: "user", userId: "a/b?c#d%&=ü" },
    { page: "sessions", app: "SHOP" },
    { page: "keys" },
    { page: "webhooks", app: "ANZ" },
    { page: "webhook", app: "ANZ", name: "orders", state: "failed" },
    { page: "domains", user: "" },
    { page: "domains", user: "ANZ-7" },
  ];
  for (const route of routes) assert.deepEqual(parseRoute(hrefOf(route)), route);
  assert.deepEqual(parseRoute(""), { page: "overview" });
  assert.deepEqual(parseRoute("#/"), { page: "overview" });
  for (const odd of ["#/nothing", "#/users/a/b", "#/keys/x", "#/users/%/%"]) assert.deepEqual(parseRoute(odd), { page: "unknown" }, odd);
  assert.deepEqual(parseRoute("#/users/100%"), { page: "user", userId: "100%" });
  assert.equal(partOf({ page: "user", userId: "ANZ-7" }), "users");
});

test("takes a stream of events apart, however it is cut", () => {
  const text = ': hello\nid: 1\nevent: stats\ndata: {"a":1}\n\nretry: 5\n\nid: 2\r\ndata: one\r\ndata:two\r\n\r\ndata\n\nevent: lost\n\nid: 3\ndata: ü\r\rdata: unfinished';
  const want = [
    { id: "1", type: "stats", data: '{"a":1}' },
    { id: "2", type: "message", data: "one\ntwo" },
    { id: "2", type: "message", data: "" },
    { id: "3", type: "message", data: "ü" },
  ];
  for (const size of [1, 2, 3, 7, 1000]) {
    const parser = new EventParser();
    const got = [];
    for (let at = 0; at < text.length; at += size) got.push(...parser.push(text.slice(at, at + size)));
    assert.deepEqual(got, want, `in pieces of ${size}`);
  }
  const parser = new EventParser();
  assert.throws(() => {
    for (let n = 0; n < 3; n++) parser.push("x".repeat(500_000));
  });
});

function sample(second: number, proved: number, more: Partial<Stats> = {}): Stats {
  const at = new Date(Date.UTC(2026, 10, 26, 12, 0, second)).toISOString();
  return {
    at,
    startedAt: "2026-11-26T11:00:00.000Z",
    uptimeSeconds: 0,
    version: "",
    nodes: 1,
    sessions: second,
    connections: 0,
    users: 0,
    messages: { in: { reliable: 0, fast: 0 }, delivered: { reliable: 0, fast: 0 }, proved, expired: 0, dropped: 0 },
    mailboxes: { messages: 0, bytes: 0 },
    refused: { socket: {}, http: {} },
    http: { requests: 0, failed: 0, connections: 0 },
    webhooks: { delivered: 0, failed: 0, dropped: 0, waiting: 0 },
    log: { bytes: 0, syncs: 0, sync: { p50Seconds: 0, p95Seconds: 0, p99Seconds: 0 } },
    memory: { bytes: 0, heap: 0 },
    goroutines: 0,
    ...more,
  };
}

const proved = (s: Stats): number => s.messages.proved;

test("rates are differences of totals over time", () => {
  const samples = new Samples(100);
  assert.equal(samples.rate(proved), undefined);
  samples.add([sample(0, 100), sample(1, 110), sample(2, 110)]);
  samples.add([sample(2, 110), sample(4, 150)]); // one known already, one missed
  assert.deepEqual(samples.rates(proved), [null, 10, 0, 20]);
  assert.equal(samples.rate(proved), 12.5);
  samples.add([5, 6, 7, 8, 9, 10].map((n) => sample(n, 150)));
  assert.equal(samples.rate(proved), 0); // over the last seconds only
  assert.deepEqual(samples.values((s) => s.sessions), [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]);
});

test("there is no rate across a gap, nor where the node began anew", () => {
  const samples = new Samples(100);
  const anew = { startedAt: "2026-11-26T12:00:10.500Z" };
  samples.add([sample(0, 5), sample(1, 6), sample(10, 60), sample(11, 3, anew), sample(12, 4, anew)]);
  assert.deepEqual(samples.rates(proved), [null, 1, null, null, null, 1]);
  assert.equal(samples.times().length, 6);
  assert.deepEqual(samples.values(proved), [5, 6, null, 60, 3, 4]);
  assert.equal(samples.rate(proved), 1);
});

test("keeps so many samples", () => {
  const samples = new Samples(3);
  samples.add([0, 1, 2, 3, 4].map((n) => sample(n, n)));
  assert.deepEqual(samples.list.map(proved), [2, 3, 4]);
});

test("reads problems, and makes one of what is none", () => {
  const response = (status: number, headers: Record<string, string> = {}): Response => new Response(null, { status, headers });
  const scope = problemOf(response(403), '{"code":"SCOPE_MISSING","detail":"the key lacks it","scope":"users:read"}');
  assert.deepEqual([scope.code, scope.message, scope.scope, scope.keyIsBad, scope.mayPass], ["SCOPE_MISSING", "the key lacks it", "users:read", false, false]);
  const slow = problemOf(response(429, { "Retry-After": "2" }), '{"code":"RATE_LIMITED"}');
  assert.deepEqual([slow.retryAfterMs, slow.mayPass], [2000, true]);
  assert.equal(problemOf(response(401), '{"code":"KEY_INVALID"}').keyIsBad, true);
  for (const odd of ["", "<html>", "null", "[]", '{"code":1}']) assert.equal(problemOf(response(502), odd).code, "ODD_ANSWER", odd);
});
