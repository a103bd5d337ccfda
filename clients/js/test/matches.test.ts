import assert from "node:assert/strict";
import { test } from "node:test";
import { ann, clientOf, Collected, startServer } from "./support.js";

const ticket = "0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7081";
const match = "0199a3e2-8d00-7000-8000-000000000001";

test("a request is answered when it waits, and what comes of it is an event", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  const news = new Collected(client, "match");
  await client.connect();
  const asked = client.ask("MATCH_REQUEST", { pool: "p", query: { level: { min: 3 } } });
  await server.until(() => server.of("MATCH_REQUEST").length === 1);
  const request = server.of("MATCH_REQUEST")[0];
  assert.deepEqual(request?.data, { pool: "p", query: { level: { min: 3 } } });
  const reference = request.reference;
  server.push(ann, { type: "MATCH_WAITING", data: { ticket, pool: "p" }, reference });
  assert.deepEqual(await asked, { ticket, pool: "p" });
  const matched = { match, ticket, pool: "p", peers: ["ANZ-2"], properties: { "ANZ-2": { level: 4 } } };
  server.push(ann, { type: "MATCHED", data: matched, reference });
  server.push(ann, { type: "MATCH_MESSAGE", data: { match, from: "ANZ-2", content: { n: 1 } }, reference });
  assert.deepEqual(await news.atLeast(2), [
    { type: "MATCHED", data: matched },
    { type: "MATCH_MESSAGE", data: { match, from: "ANZ-2", content: { n: 1 } } },
  ]);
});

test("leaving is answered, and no event; what others do is one", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  const news = new Collected(client, "match");
  await client.connect();
  const left = client.ask("MATCH_LEAVE", { match });
  await server.until(() => server.of("MATCH_LEAVE").length === 1);
  // A message whose sender has given it the reference of our own answers nothing.
  const reference = server.of("MATCH_LEAVE")[0]?.reference;
  server.push(ann, { type: "MATCH_MESSAGE", data: { match, from: "ANZ-2", content: "x" }, reference });
  server.push(ann, { type: "MATCH_LEFT", data: { match, pool: "p" }, reference });
  server.push(ann, { type: "MATCH_PEER_LEFT", data: { match, pool: "p", peer: "ANZ-2", ended: true } });
  assert.deepEqual(await left, { match, pool: "p" });
  const heard = await news.atLeast(2);
  assert.deepEqual(
    heard.map((n) => n.type),
    ["MATCH_MESSAGE", "MATCH_PEER_LEFT"],
  );
});

test("messages of a match say how they are to go, and to whom", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  await client.connect();
  await assert.rejects(client.sendMatch(match, "hello").confirmed, { code: "NOT_ASKED" });
  client.sendMatch(match, { a: 1 }, { reliable: true, to: ["ANZ-2"] });
  await server.until(() => server.of("MATCH_MESSAGE").length === 2);
  const [one, two] = server.of("MATCH_MESSAGE") as unknown as { data: unknown; feature?: string }[];
  assert.deepEqual([one?.data, one?.feature], [{ match, content: "hello" }, undefined]);
  assert.deepEqual([two?.data, two?.feature], [{ match, content: { a: 1 }, to: ["ANZ-2"] }, "RELIABLE"]);
});

test("a reliable message of a match with a reference is stored and confirmed, or refused", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { receipts: true });
  const errors = new Collected(client, "error");
  assert.throws(() => client.sendMatch(match, "too early"), { code: "NOT_CONNECTED" });
  await client.connect();
  const good = client.sendMatch(match, "e4", { reliable: true, to: ["ANZ-2"], reference: "r1" });
  const all = client.sendMatch(match, "e5", { reliable: true, reference: "r2" });
  const wrong = client.sendMatch(match, "e6", { reliable: true, to: ["ANZ-2"], reference: "r3" });
  await server.until(() => server.of("MATCH_MESSAGE").length === 3);
  assert.deepEqual(server.of("MATCH_MESSAGE").map(({ reference }) => reference), ["r1", "r2", "r3"]);
  for (const reference of ["r1", "r2"]) server.push(ann, { type: "MESSAGE_STORED", data: { reference } });
  server.push(ann, { type: "MESSAGE_CONFIRMATION", data: { reference: "r1" } });
  server.push(ann, { type: "GENERAL_ERROR", data: { code: "NOT_FOUND", reason: "no" }, reference: "r3" });
  await good.stored;
  await good.confirmed;
  await all.stored;
  await assert.rejects(all.confirmed, { code: "NOT_ASKED" }); // as of a group
  await assert.rejects(wrong.stored, { code: "NOT_FOUND" });
  await assert.rejects(wrong.confirmed, { code: "NOT_FOUND" });
  assert.equal((await errors.atLeast(1))[0]?.code, "NOT_FOUND");
});
