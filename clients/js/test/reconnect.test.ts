import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, type State } from "../src/index.js";
import { ann, ben, clientOf, Collected, inState, ManualClock, startServer } from "./support.js";

const states = (changes: Collected<"state">): State[] => changes.events.map(({ state }) => state);

test("connects again after the connection broke, and a restart of the server", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  const changes = new Collected(client, "state");
  await client.connect();
  await server.stop();
  await inState(client, "waiting");
  await server.start();
  await inState(client, "online");
  assert.deepEqual(states(changes).slice(0, 4), ["connecting", "signing-in", "online", "waiting"]);
  assert.equal(changes.events[3]?.error?.code, "CONNECTION_LOST");
  await client.send({ to: ben, content: 1, reference: "r" }).confirmed;
});

test("connect stays pending until the server is there", async (t) => {
  const server = await startServer(t);
  await server.stop();
  const client = clientOf(t, server);
  const connected = client.connect();
  await inState(client, "waiting");
  await server.start();
  await connected;
});

test("waits grow exponentially with full jitter, up to a bound", async (t) => {
  const server = await startServer(t);
  await server.stop();
  const clock = new ManualClock();
  const client = clientOf(t, server, { clock, random: () => 0.5, reconnect: { baseMs: 100, maxMs: 1_000 } });
  const changes = new Collected(client, "state");
  client.connect().catch(() => undefined);
  const waits: (number | undefined)[] = [];
  for (let attempt = 0; attempt < 6; attempt++) {
    await inState(client, "waiting");
    waits.push(changes.events.at(-1)?.retryInMs);
    clock.advance(waits.at(-1) ?? 0);
  }
  assert.deepEqual(waits, [50, 100, 200, 400, 500, 500]);
});

test("a session that lasted starts the waits anew, one that did not goes on", async (t) => {
  const server = await startServer(t);
  const clock = new ManualClock();
  const client = clientOf(t, server, { clock, random: () => 0.5, reconnect: { baseMs: 100, resetAfterMs: 5_000 } });
  const changes = new Collected(client, "state");
  const lose = async (afterMs: number): Promise<number | undefined> => {
    await inState(client, "online");
    clock.advance(afterMs);
    server.drop();
    await inState(client, "waiting");
    const wait = changes.events.at(-1)?.retryInMs;
    clock.advance(wait ?? 0);
    return wait;
  };
  void client.connect();
  assert.deepEqual([await lose(0), await lose(4_999), await lose(5_000)], [50, 100, 50]);
  await inState(client, "online");
});

test("retryNow does not wait", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { clock: new ManualClock() });
  await client.connect();
  client.retryNow(); // does nothing while online
  server.drop();
  await inState(client, "waiting");
  client.retryNow();
  await inState(client, "online");
});

test("a refused sign-in is final and says why", async (t) => {
  const server = await startServer(t);
  server.refuse = "WRONG_APP_ID";
  const client = clientOf(t, server);
  await assert.rejects(client.connect(), { kind: "REFUSED", code: "WRONG_APP_ID", message: "not today" });
  assert.equal(client.state, "closed");
  server.refuse = undefined;
  await client.connect(); // and may be asked for again
});

test("a user who lives elsewhere is told where", async (t) => {
  const server = await startServer(t);
  server.refuse = "WRONG_DOMAIN";
  server.home = "wss://d2.example.org:8088/ws";
  const client = clientOf(t, server);
  await assert.rejects(client.connect(), { kind: "REFUSED", code: "WRONG_DOMAIN", home: "wss://d2.example.org:8088/ws" });
  assert.equal(client.state, "closed"); // trying again here would be the same again
});

test("a refusal that passes is tried again", async (t) => {
  const server = await startServer(t);
  for (const code of ["HOOK_FAILED", "STORE_DOWN", "RATE_LIMITED"]) {
    server.refuse = code;
    const client = clientOf(t, server);
    const connected = client.connect();
    await inState(client, "waiting");
    server.refuse = undefined;
    await connected;
  }
});

test("an expired token is asked for anew where that is possible", async (t) => {
  const server = await startServer(t);
  let calls = 0;
  const fresh = clientOf(t, server, { token: () => Promise.resolve(`token-${++calls}`) });
  await fresh.connect();
  server.closeAll(4005, "TOKEN_EXPIRED");
  await inState(fresh, "waiting");
  await inState(fresh, "online");
  assert.deepEqual(server.of("AUTH_CLIENT").map(({ data }) => data["token"]), ["token-1", "token-2"]);
  fresh.close();

  const fixed = clientOf(t, server);
  await fixed.connect();
  server.closeAll(4005, "TOKEN_EXPIRED");
  await inState(fixed, "closed");
});

test("a session is given a new token on its own socket before the old one ends", async (t) => {
  const server = await startServer(t);
  let calls = 0;
  const client = clientOf(t, server, { token: () => Promise.resolve(`token-${++calls}`), presence: ["ANZ-3"] });
  await assert.rejects(client.renew(), { code: "NOT_CONNECTED" });
  const changes = new Collected(client, "state");
  await client.connect();
  const states = changes.events.length;
  await client.renew();
  await server.until(() => server.of("AUTH_CLIENT").length === 2);
  assert.deepEqual(server.of("AUTH_CLIENT")[1]?.data, { appId: "app-id-343", userId: "ANZ-1", token: "token-2" });
  assert.equal(client.state, "online");
  assert.equal(changes.events.length, states);
});

test("a token that cannot be had is tried again", async (t) => {
  const server = await startServer(t);
  let calls = 0;
  const token = (): Promise<string> => (++calls === 1 ? Promise.reject(new Error("no")) : Promise.resolve("yes"));
  await clientOf(t, server, { token }).connect();
  assert.equal(calls, 2);
});

test("stays away when the master user or the server ended the session", async (t) => {
  const server = await startServer(t);
  for (const [code, name] of [[1000, "NORMAL"], [4003, "CLOSED_BY_MASTER"]] as const) {
    const client = clientOf(t, server);
    const changes = new Collected(client, "state");
    await client.connect();
    server.closeAll(code, name);
    await inState(client, "closed");
    assert.equal(changes.events.at(-1)?.error?.code, name);
  }
});

test("without reconnect a lost connection is final", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { reconnect: false });
  await client.connect();
  server.drop();
  await inState(client, "closed");
});

test("RECONNECT is honoured: the session works on, moves when its time has come, and does not wait again", async (t) => {
  const server = await startServer(t);
  const clock = new ManualClock();
  const client = clientOf(t, server, { clock });
  const changes = new Collected(client, "state");
  const frames = new Collected(client, "frame");
  await client.connect();
  server.push(ann, { type: "RECONNECT", data: { reason: "restart", afterMs: 700 } });
  await frames.atLeast(3);
  assert.equal(clock.next, 700);
  clock.advance(699);
  await client.send({ to: ben, content: 1, reference: "r" }).confirmed;
  clock.advance(1);
  assert.deepEqual([changes.events.at(-1)?.state, changes.events.at(-1)?.retryInMs], ["waiting", 0]);
  assert.equal(changes.events.at(-1)?.error?.code, "RECONNECT");
  clock.advance(0);
  await inState(client, "online");
});

test("RECONNECT holds also when the server closes before the time has come", async (t) => {
  const server = await startServer(t);
  const clock = new ManualClock();
  const client = clientOf(t, server, { clock });
  const changes = new Collected(client, "state");
  const frames = new Collected(client, "frame");
  await client.connect();
  server.push(ann, { type: "RECONNECT", data: { reason: "restart", afterMs: 700 } });
  await frames.atLeast(3);
  clock.advance(200);
  server.closeAll(1012);
  await inState(client, "waiting");
  assert.equal(changes.events.at(-1)?.retryInMs, 500);
});

test("gives up an attempt that gets no answer, and tries again", async (t) => {
  const server = await startServer(t);
  server.silent = true;
  const clock = new ManualClock();
  const client = clientOf(t, server, { clock, connectTimeoutMs: 1_000, random: () => 0 });
  const changes = new Collected(client, "state");
  const connected = client.connect();
  await inState(client, "signing-in");
  clock.advance(1_000);
  assert.equal(changes.events.at(-1)?.error?.code, "TIMEOUT");
  server.silent = false;
  clock.advance(0);
  await connected;
});

test("what was not said to be stored when the connection broke may yet arrive", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { receipts: true });
  await client.connect();
  server.drop();
  const receipt = client.send({ to: ben, content: 1, reference: "r" });
  await assert.rejects(receipt.stored, { code: "CONNECTION_LOST", mayYetArrive: true });
});

test("a confirmation is awaited over a reconnect", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  await client.connect();
  server.drop();
  const receipt = client.send({ to: ben, content: 1, reference: "r" });
  await inState(client, "waiting");
  await inState(client, "online");
  server.push(ann, { type: "MESSAGE_CONFIRMATION", data: { reference: "r" } });
  await receipt.confirmed;
});

test("closing ends everything, in every state", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  client.close(); // nothing to close yet
  for (const state of ["connecting", "signing-in", "online"] as const) {
    const off = client.on("state", (change) => {
      if (change.state === state) client.close();
    });
    const connected = client.connect();
    if (state === "online") await connected.catch(() => undefined);
    else await assert.rejects(connected, { code: "CLOSED" });
    off();
    assert.equal(client.state, "closed");
  }
  await client.connect();
  const pending = client.send({ to: "nobody", content: 1, reference: "r" });
  client.close();
  await assert.rejects(pending.confirmed, { code: "CLOSED" });
});

test("an address that is none is refused", async (t) => {
  const server = await startServer(t);
  for (const url of ["", "nonsense", "http://127.0.0.1/ws"]) {
    assert.throws(() => clientOf(t, server, { url }), { code: "BAD_URL" });
  }
});

test("says so when there is no WebSocket", (t) => {
  const holder = globalThis as { WebSocket?: unknown };
  const before = holder.WebSocket;
  t.after(() => (holder.WebSocket = before));
  holder.WebSocket = undefined;
  assert.throws(() => new Client({ url: "ws://x/ws", appId: "a", userId: ann }), { code: "NO_WEBSOCKET" });
});

test("an error that answers the sign-in ends the attempt, and is final", async (t) => {
  const server = await startServer(t);
  for (const [type, code] of [
    ["INVALID_MESSAGE", "BAD_FIELD"],
    ["GENERAL_ERROR", "TOO_MANY"],
  ] as const) {
    server.answer = { type, data: { code, reason: "data.options.presence: not so" } };
    const before = server.received.length;
    const client = clientOf(t, server);
    const changes = new Collected(client, "state");
    const errors = new Collected(client, "error");
    await assert.rejects(client.connect(), { kind: type, code, message: "data.options.presence: not so" });
    assert.deepEqual(states(changes), ["connecting", "signing-in", "closed"]);
    assert.equal(changes.events.at(-1)?.error?.code, code);
    assert.equal(errors.events.length, 0, "why a connection ended is in its state");
    assert.equal(server.received.length, before + 1);

    server.answer = undefined;
    await client.connect();
    assert.equal(client.state, "online");
  }
});
