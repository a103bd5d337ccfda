import assert from "node:assert/strict";
import { test } from "node:test";
import { newReference, SwitchboardError } from "../src/index.js";
import { ann, ben, clientOf, Collected, startServer } from "./support.js";

test("signs in with the frame of the first protocol when nothing is asked for", async (t) => {
  const server = await startServer(t);
  await clientOf(t, server).connect();
  assert.deepEqual(server.received, [
    { type: "AUTH_CLIENT", data: { appId: "app-id-343", userId: ann, token: "token-12345" } },
  ]);
});

test("asks for what the options say", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { ack: true, receipts: true, push: true, presence: [ben] });
  client.on("message", () => undefined);
  await client.connect();
  assert.deepEqual(server.received[0]?.data["options"], { ack: true, receipts: true, push: true, presence: [ben] });
});

test("sends a direct message with all its fields", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  await client.connect();
  client.send({
    to: ben,
    content: { text: "hello" },
    feature: "RELIABLE",
    reference: "r1",
    confirmationEnabled: false,
    ttl: 60,
  });
  await server.until(() => server.of("MESSAGE").length === 1);
  assert.deepEqual(server.of("MESSAGE")[0], {
    type: "MESSAGE",
    data: { to: ben, content: { text: "hello" } },
    feature: "RELIABLE",
    reference: "r1",
    confirmationEnabled: false,
    ttl: 60,
  });
});

test("two users talk, and each hears that the other has it", async (t) => {
  const server = await startServer(t);
  const [one, two] = [clientOf(t, server, { receipts: true }), clientOf(t, server, { userId: ben, receipts: true })];
  const [toOne, toTwo] = [new Collected(one, "message"), new Collected(two, "message")];
  await Promise.all([one.connect(), two.connect()]);

  const there = one.send({ to: ben, content: "ping", reference: "r1" });
  await there.stored;
  await there.confirmed;
  const back = two.send({ to: ann, content: "pong", reference: "r1" });
  await back.confirmed;

  const [ping] = await toTwo.atLeast(1);
  const [pong] = await toOne.atLeast(1);
  assert.deepEqual([ping?.from, ping?.content, ping?.reference], [ann, "ping", "r1"]);
  assert.deepEqual([pong?.from, pong?.content], [ben, "pong"]);
});

test("content given as text travels byte for byte, and is shown as it was sent", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  const messages = new Collected(client, "message");
  const frames = new Collected(client, "frame");
  await client.connect();
  const contentText = '{"n": 12345678901234567890, "e":"\\u0041"}';
  client.send({ to: ben, contentText });
  assert.ok(frames.events.at(-1)?.text.includes(`"content":${contentText}}`));

  server.push(ann, `{"type":"MESSAGE","data":{"from":"${ben}","content":${contentText}}}`);
  const [message] = await messages.atLeast(1);
  assert.equal(message?.contentText, contentText);
  assert.deepEqual(Object.keys(message.content as object), ["n", "e"]);
});

test("a message of an outbox has its number there", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  const messages = new Collected(client, "message");
  await client.connect();
  server.push(ann, `{"type":"MESSAGE","data":{"from":"${ben}","content":1},"producer":"phone-1","seq":17}`);
  server.push(ann, `{"type":"MESSAGE","data":{"from":"${ben}","content":1}}`);
  const [one, other] = await messages.atLeast(2);
  assert.deepEqual([one?.producer, one?.seq], ["phone-1", 17]);
  assert.deepEqual([other?.producer, other?.seq], [undefined, undefined]);
});

test("a group message goes to several and is never confirmed", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { receipts: true });
  await client.connect();
  const receipt = client.send({ to: [ben, "ANZ-3"], content: 1, reference: "g" });
  await receipt.stored;
  await assert.rejects(receipt.confirmed, { code: "NOT_ASKED" });
  assert.deepEqual(server.of("GROUP_MESSAGE")[0]?.data, { to: [ben, "ANZ-3"], content: 1 });
});

test("some bad receivers of a group do not fail it, all do", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { receipts: true });
  const errors = new Collected(client, "error");
  await client.connect();
  await client.send({ to: [ben, "nobody"], content: 1, reference: "some" }).stored;
  assert.deepEqual((await errors.atLeast(1))[0]?.to, ["nobody"]);
  await assert.rejects(client.send({ to: ["nobody", "neither"], content: 1, reference: "all" }).stored, {
    code: "BAD_RECEIVER",
  });
});

test("an error of the server rejects the promises and is reported", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  const errors = new Collected(client, "error");
  await client.connect();
  const receipt = client.send({ to: "nobody", content: 1, reference: "bad" });
  await assert.rejects(receipt.confirmed, (error: unknown) => {
    assert.ok(error instanceof SwitchboardError);
    assert.deepEqual([error.kind, error.code, error.reference], ["INVALID_MESSAGE", "BAD_FIELD", "bad"]);
    return true;
  });
  assert.equal((await errors.atLeast(1)).length, 1);
});

test("a message that expires is confirmed never, though it was stored", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { receipts: true });
  await client.connect();
  const receipt = client.send({ to: "nobody", content: 1, reference: "x" });
  server.push(ann, { type: "MESSAGE_STORED", data: { reference: "x" } });
  server.push(ann, { type: "DELIVER_FAILED", data: { code: "EXPIRED", reason: "late", to: ben }, reference: "x" });
  await assert.rejects(receipt.confirmed);
});

test("promises without a reference, or not asked for, say so at once", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  await client.connect();
  await assert.rejects(client.send({ to: ben, content: 1 }).confirmed, { code: "NOT_ASKED" });
  await assert.rejects(client.send({ to: ben, content: 1, reference: "a" }).stored, { code: "NOT_ASKED" });
  const quiet = client.send({ to: ben, content: 1, reference: "b", confirmationEnabled: false });
  await assert.rejects(quiet.confirmed, { code: "NOT_ASKED" });
});

test("a reference that is used again settles one message after the other", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  await client.connect();
  const first = client.send({ to: ben, content: 1, reference: "same" });
  const second = client.send({ to: ben, content: 2, reference: "same" });
  await Promise.all([first.confirmed, second.confirmed]);
});

test("no more messages wait for an answer than the limit", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { maxPending: 2 });
  await client.connect();
  server.drop(); // nothing is answered any more
  const sent = ["a", "b", "c"].map((reference) => client.send({ to: ben, content: 1, reference }));
  await assert.rejects(sent[0]?.confirmed ?? Promise.resolve(), { code: "TOO_MANY_PENDING" });
});

test("refuses what the server would close the session for, before it is sent", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { maxFrameBytes: 200 });
  assert.throws(() => client.send({ to: ben, content: 1 }), { code: "NOT_CONNECTED" });
  await client.connect();
  assert.throws(() => client.send({ to: ben, content: "é".repeat(100) }), { code: "TOO_LARGE" });
  assert.throws(() => client.send({ to: ben, contentText: "{" }), { code: "BAD_CONTENT" });
  assert.throws(() => client.send({ to: ben, content: undefined }), { code: "BAD_CONTENT" });
  client.send({ to: ben, content: "é".repeat(60) });
  assert.equal(client.state, "online");
});

test("refuses to buffer without end", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { maxBufferedBytes: 10 });
  await client.connect();
  assert.throws(() => client.send({ to: ben, content: 1 }), { code: "BUFFER_FULL" });
});

test("fetches what was missed, and says what is left", async (t) => {
  const server = await startServer(t);
  for (const n of [1, 2, 3]) server.deliver(ann, { type: "MESSAGE", data: { from: ben, content: n } });
  const client = clientOf(t, server);
  const messages = new Collected(client, "message");
  await client.connect();
  assert.deepEqual(await client.fetchMissing(2), { left: 1 });
  assert.deepEqual(messages.events.map(({ content }) => content), [1, 2]);
  assert.deepEqual(await client.fetchMissing(), { left: 0 });
  assert.deepEqual(server.of("FETCH_MISSING_MESSAGES_REQUEST").map(({ data }) => data["count"]), [2, 100]);
});

test("a fetch that is refused, or cut off, is rejected", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  await assert.rejects(client.fetchMissing(), { code: "NOT_CONNECTED" });
  await client.connect();
  const refused = client.fetchMissing(0);
  server.push(ann, { type: "INVALID_MESSAGE", data: { code: "BAD_FIELD", reason: "below 1" }, reference: "fetch-2" });
  await assert.rejects(refused, { code: "BAD_FIELD" });
  const cut = client.fetchMissing(1);
  server.drop();
  await assert.rejects(cut, { code: "CONNECTION_LOST" });
});

test("closing another user's sessions is asked for, and a refusal is reported", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  const errors = new Collected(client, "error");
  await client.connect();
  client.closeConnection(ben, "close-1");
  const [error] = await errors.atLeast(1);
  assert.deepEqual([error?.code, error?.reference], ["FORBIDDEN", "close-1"]);
  assert.deepEqual(server.of("CLOSE_CONNECTION")[0]?.data, { userId: ben });
});

test("tells of presence, and shows frames in both directions", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  const presence = new Collected(client, "presence");
  const frames = new Collected(client, "frame");
  await client.connect();
  server.push(ann, { type: "USER_CONNECTED", data: { userId: ben } });
  server.push(ann, { type: "USER_DISCONNECTED", data: { userId: ben } });
  assert.deepEqual(await presence.atLeast(2), [
    { userId: ben, online: true },
    { userId: ben, online: false },
  ]);
  assert.deepEqual(frames.events.map(({ direction }) => direction), ["out", "in", "in", "in"]);
});

test("what is no frame is reported, and what is unknown is ignored", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  const errors = new Collected(client, "error");
  const messages = new Collected(client, "message");
  await client.connect();
  for (const text of ["{", "[]", '{"type":1}', '{"type":"FROM_THE_FUTURE","data":null}']) server.push(ann, text);
  server.push(ann, { type: "MESSAGE", data: { from: ben, content: null } });
  await messages.atLeast(1);
  assert.deepEqual(errors.events.map(({ code }) => code), ["BAD_FRAME", "BAD_FRAME", "BAD_FRAME"]);
});

test("references differ", () => {
  const many = Array.from({ length: 1000 }, newReference);
  assert.equal(new Set(many).size, many.length);
});
