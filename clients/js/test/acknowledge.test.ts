import assert from "node:assert/strict";
import { test } from "node:test";
import { ann, ben, clientOf, Collected, gate, inState, startServer } from "./support.js";

const letter = (content: unknown): object => ({ type: "MESSAGE", data: { from: ben, content } });

test("needs a message handler before it connects", async (t) => {
  const server = await startServer(t);
  await assert.rejects(clientOf(t, server, { ack: true }).connect(), { code: "NO_HANDLER" });
});

test("acknowledges only after the handler settled, one after the other", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { ack: true });
  const gates = [gate(), gate()];
  const begun: unknown[] = [];
  client.on("message", ({ content }) => {
    begun.push(content);
    return gates[content as number]?.opened;
  });
  const frames = new Collected(client, "frame");
  await client.connect();
  const ids = [0, 1].map((n) => server.deliver(ann, letter(n)));
  await frames.atLeast(4); // sign-in, reply, both messages
  assert.deepEqual(begun, [0]);
  assert.equal(server.of("MESSAGE_ACK").length, 0);

  gates[0]?.open();
  await server.until(() => server.of("MESSAGE_ACK").length === 1);
  assert.deepEqual(begun, [0, 1]);
  gates[1]?.open();
  await server.until(() => server.of("MESSAGE_ACK").length === 2);
  assert.deepEqual(server.of("MESSAGE_ACK").map(({ data }) => data["id"]), ids);
});

test("one acknowledgement covers a burst, and a long burst gets some on the way", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { ack: true, push: true });
  const messages = new Collected(client, "message");
  const ids = Array.from({ length: 200 }, (_, n) => server.deliver(ann, letter(n)));
  await client.connect();
  await messages.atLeast(200);
  await server.until(() => server.of("MESSAGE_ACK").at(-1)?.data["id"] === ids[199]);
  const acks = server.of("MESSAGE_ACK").length;
  assert.ok(acks >= 200 / 32 - 1 && acks < 100, `${acks} acknowledgements`);
});

test("a handler that fails is reported, and its message acknowledged", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { ack: true });
  const errors = new Collected(client, "error");
  client.on("message", ({ content }) => {
    if (content === "throw") throw new Error("thrown");
    return Promise.reject(new Error("rejected"));
  });
  await client.connect();
  server.deliver(ann, letter("throw"));
  server.deliver(ann, letter("reject"));
  await errors.atLeast(2);
  assert.deepEqual(errors.events.map(({ code }) => code), ["HANDLER_FAILED", "HANDLER_FAILED"]);
  await server.until(() => server.of("MESSAGE_ACK").length > 0);
});

test("what was handled but not acknowledged is not handled again after a reconnect", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { ack: true, push: true });
  const seen: unknown[] = [];
  const first = gate();
  client.on("message", ({ content }) => {
    seen.push(content);
    return content === 0 ? first.opened : undefined;
  });
  const frames = new Collected(client, "frame");
  await client.connect();
  const ids = [0, 1].map((n) => server.deliver(ann, letter(n)));
  await frames.atLeast(4);
  server.drop();
  await inState(client, "waiting");
  await inState(client, "online"); // both were sent again
  server.deliver(ann, letter(2));
  await frames.atLeast(9);
  assert.deepEqual(seen, [0], "later messages wait for the handler that is still at work");

  first.open();
  await server.until(() => server.of("MESSAGE_ACK").length > 0 && seen.length === 3);
  assert.deepEqual(seen, [0, 1, 2]);
  assert.ok(ids.length > 0 && server.mailbox(ann).length === 0);
});

test("a confirmation that is sent again settles no second message", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { ack: true });
  client.on("message", () => undefined);
  await client.connect();
  const first = client.send({ to: "nobody", content: 1, reference: "same" });
  const confirmation = { type: "MESSAGE_CONFIRMATION", data: { reference: "same" }, id: "c1" };
  server.push(ann, confirmation);
  await first.confirmed;
  const second = client.send({ to: ben, content: 2, reference: "other" });
  client.send({ to: "nobody", content: 2, reference: "same" });
  server.push(ann, confirmation);
  await second.confirmed;
});

test("remembers no more ids than it is told to", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { ack: true, remember: 2 });
  const messages = new Collected(client, "message");
  await client.connect();
  for (const id of ["a", "b", "b", "a", "c", "d", "e", "a"]) server.push(ann, { ...letter(id), id });
  await messages.atLeast(6);
  assert.deepEqual(messages.events.map(({ id }) => id), ["a", "b", "c", "d", "e", "a"]);
});

test("when too many wait for a slow handler the session starts anew, and nothing is lost", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { ack: true, push: true, remember: 3 });
  const slow = gate();
  const seen: unknown[] = [];
  client.on("message", ({ content }) => {
    seen.push(content);
    return slow.opened;
  });
  const errors = new Collected(client, "error");
  await client.connect();
  for (let n = 0; n < 6; n++) server.deliver(ann, letter(n));
  const [error] = await errors.atLeast(1);
  assert.equal(error?.code, "TOO_SLOW");
  slow.open();
  await server.until(() => seen.length >= 6 && server.mailbox(ann).length === 0);
  assert.deepEqual([...new Set(seen)], [0, 1, 2, 3, 4, 5]);
});

test("a handler may wait for what became of a message that it sends", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { ack: true, receipts: true });
  let done = false;
  client.on("message", async () => {
    const receipt = client.send({ to: ben, content: "answer", reference: "r" });
    await receipt.stored;
    await receipt.confirmed;
    await client.fetchMissing();
    done = true;
  });
  await client.connect();
  server.deliver(ann, letter("question"));
  await server.until(() => done && server.of("MESSAGE_ACK").length > 0);
});

test("signing out acknowledges what was handled", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server, { ack: true });
  client.on("message", () => client.close());
  await client.connect();
  server.deliver(ann, letter("last"));
  await inState(client, "closed");
  assert.equal(client.state, "closed");
});
