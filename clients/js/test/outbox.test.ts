import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { Client, ClientOptions } from "../src/index.js";
import { ann, ben, clientOf, Collected, inState, ManualClock, startServer } from "./support.js";
import type { TestServer } from "./testserver.js";

/** A client whose numbers begin at 1, and a server that answers nothing by itself. */
async function producing(t: TestContext, options: Partial<ClientOptions> = {}): Promise<{ server: TestServer; client: Client }> {
  const server = await startServer(t);
  server.holding = true;
  const client = clientOf(t, server, { producer: "phone-1", nextSeq: 1, ...options });
  await client.connect();
  return { server, client };
}

const seqs = (server: TestServer): (number | undefined)[] => server.of("MESSAGE").map(({ seq }) => seq);
const arrived = (server: TestServer, count: number): Promise<void> => server.until(() => server.of("MESSAGE").length >= count);
const stored = (reference: string): object => ({ type: "MESSAGE_STORED", data: { reference } });
const refused = (code: string, to: string | string[], reference: string, more: object = {}): object => ({
  type: "DELIVER_FAILED",
  data: { code, reason: "because", to, ...more },
  reference,
});

test("an outbox is sent again in the next session, in order, under its numbers", async (t) => {
  const { server, client } = await producing(t);
  const [a, b, c] = ["a", "b", "c"].map((reference) => client.send({ to: ben, content: reference, reference }));
  await arrived(server, 3);
  assert.deepEqual(server.received[0]?.data["options"], { receipts: true, producer: "phone-1" });
  server.push(ann, stored("b"));
  await b?.stored;
  await server.stop();
  await inState(client, "waiting");
  const d = client.send({ to: ben, content: "d" });
  assert.equal(d.seq, 4);
  await server.start();
  await arrived(server, 6);
  assert.deepEqual(seqs(server), [1, 2, 3, 1, 3, 4]);
  const last = server.of("MESSAGE").at(-1);
  assert.equal(last?.confirmationEnabled, false); // nobody asked for one: the reference is the client's own
  const flushed = client.flush();
  for (const reference of ["a", "c", d.reference ?? ""]) server.push(ann, stored(reference));
  let heard = false;
  void d.stored.then(() => (heard = true));
  await flushed;
  assert.ok(heard);
  await Promise.all([a?.stored, c?.stored]);
});

test("what is refused for the moment is sent again, and what was not sent waits for it", async (t) => {
  const clock = new ManualClock();
  const { server, client } = await producing(t, { clock, random: () => 0.5, reconnect: { baseMs: 1_000 } });
  const errors = new Collected(client, "error");
  const told = new Collected(client, "stored");
  const [a, b, c] = ["a", "b", "c"].map((reference) => client.send({ to: ben, content: 1, reference }));
  await arrived(server, 3);
  server.push(ann, refused("STORE_DOWN", ben, "a"));
  server.push(ann, refused("TIMEOUT", ben, "b", { mayYetArrive: true }));
  server.push(ann, refused("MAILBOX_FULL", ben, "c"));
  await assert.rejects(c?.stored ?? Promise.resolve(), { code: "MAILBOX_FULL" });
  const d = client.send({ to: ben, content: 1, reference: "d" });
  assert.equal(clock.next, 500); // one wait for both
  clock.advance(500);
  await arrived(server, 6);
  assert.deepEqual(seqs(server), [1, 2, 3, 1, 2, 4]);
  server.push(ann, stored("a"));
  server.push(ann, stored("b"));
  await Promise.all([a?.stored, b?.stored]);
  assert.deepEqual(errors.events.map(({ code }) => code), ["MAILBOX_FULL"]);
  assert.deepEqual(told.events.map(({ reference }) => reference), ["a", "b"]);
  server.push(ann, refused("EXPIRED", ben, "d")); // about an earlier message
  await errors.atLeast(2);
  server.drop();
  await inState(client, "waiting");
  clock.advance(10_000);
  await arrived(server, 7);
  assert.equal(seqs(server).at(-1), 4);
  server.push(ann, stored("d"));
  await d.stored;
});

test("a group is settled when all its receivers are", async (t) => {
  const clock = new ManualClock();
  const { server, client } = await producing(t, { clock, random: () => 0.5 });
  const group = async (reference: string): Promise<Promise<void>> => {
    const before = server.of("GROUP_MESSAGE").length;
    const receipt = client.send({ to: [ben, "ANZ-3", ben], content: 1, reference });
    await server.until(() => server.of("GROUP_MESSAGE").length > before);
    return receipt.stored.then(() => undefined);
  };
  const none = client.send({ to: [ben, "ANZ-3"], content: 1, reference: "none" });
  await server.until(() => server.of("GROUP_MESSAGE").length === 1);
  server.push(ann, refused("MAILBOX_FULL", [ben], "none"));
  server.push(ann, refused("UNKNOWN_APP", ["ANZ-3"], "none"));
  await assert.rejects(none.stored, { code: "UNKNOWN_APP" });
  await client.flush();
  const half = group("half");
  await server.until(() => server.of("GROUP_MESSAGE").length === 2);
  server.push(ann, refused("STORE_DOWN", [ben], "half"));
  server.push(ann, stored("half"));
  const error = new Collected(client, "error");
  server.push(ann, { type: "GENERAL_ERROR", data: { code: "X", reason: "a sign that all before was read" } });
  await error.atLeast(1);
  clock.advance(1_000);
  await server.until(() => server.of("GROUP_MESSAGE").length === 3);
  server.push(ann, stored("half"));
  await half;
});

test("no number is sent while one is open that the server would not remember", async (t) => {
  const { server, client } = await producing(t);
  const receipts = Array.from({ length: 514 }, (_, i) => client.send({ to: ben, content: i, reference: String(i + 1) }));
  await arrived(server, 512);
  server.push(ann, stored("2"));
  await receipts[1]?.stored;
  assert.equal(server.of("MESSAGE").length, 512);
  server.push(ann, stored("1"));
  await arrived(server, 514);
});

test("numbers and references that cannot be are refused", async (t) => {
  const { server, client } = await producing(t, { maxPending: 3 });
  assert.equal(client.send({ to: ben, content: 1, seq: 7, reference: "a" }).seq, 7);
  for (const seq of [7, 6, 0, -1, 7.5, Number.MAX_SAFE_INTEGER + 1, NaN]) {
    assert.throws(() => client.send({ to: ben, content: 1, seq }), { code: "BAD_SEQ" });
  }
  assert.throws(() => client.send({ to: ben, content: 1, reference: "a" }), { code: "REFERENCE_IN_USE" });
  assert.throws(() => client.send({ to: ben, content: "x".repeat(70_000) }), { code: "TOO_LARGE" });
  const next = client.send({ to: ben, content: 1 });
  assert.equal(next.seq, 8);
  const last = client.send({ to: ben, content: 1 });
  assert.throws(() => client.send({ to: ben, content: 1 }), { code: "OUTBOX_FULL" });
  client.send({ to: ben, content: 1, feature: "FAST", seq: 100 });
  await arrived(server, 4);
  assert.deepEqual(seqs(server), [7, 8, 9, undefined]);
  const flushed = client.flush();
  client.close();
  await assert.rejects(last.stored, { code: "CLOSED" });
  await assert.rejects(flushed, { code: "CLOSED" });
  assert.throws(() => clientOf(t, server).send({ to: ben, content: 1, seq: 1 }), { code: "BAD_SEQ" });
});

test("numbers begin with the time, so that a new page is above the old one", async (t) => {
  const server = await startServer(t);
  const before = Date.now() * 1_000;
  const client = clientOf(t, server, { producer: "phone-1" });
  const { seq = 0, stored: kept } = client.send({ to: ben, content: 1 }); // before there is a session
  assert.ok(seq >= before && seq <= Date.now() * 1_000);
  await client.connect();
  await kept;
});
