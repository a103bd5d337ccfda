import assert from "node:assert/strict";
import { test } from "node:test";
import { SwitchboardError } from "../src/index.js";
import { ann, clientOf, Collected, startServer } from "./support.js";

const room = "0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7081";

test("an answer comes to whoever asked, and to nobody else", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  const news = new Collected(client, "room");
  await client.connect();
  const [sent, page] = [client.ask("ROOM_SEND", { room, content: { text: "hello" }, clientId: "c1" }), client.ask("ROOM_HISTORY", { room })];
  await server.until(() => server.of("ROOM_HISTORY").length === 1);
  const [one, two] = [server.of("ROOM_SEND")[0], server.of("ROOM_HISTORY")[0]];
  assert.deepEqual(one?.data, { room, content: { text: "hello" }, clientId: "c1" });
  const at = "2026-11-26T10:00:00.000Z";
  server.push(ann, { type: "ROOM_MESSAGES", data: { room, messages: [], more: false }, reference: two?.reference });
  server.push(ann, { type: "ROOM_SENT", data: { room, id: "m", seq: 7, at }, reference: one.reference });
  server.push(ann, { type: "ROOM_MESSAGE", data: { room, id: "n", seq: 8, from: "chat-2", content: "hi", at } });
  assert.deepEqual((await page).messages, []);
  assert.equal((await sent).seq, 7);
  const [heard] = await news.atLeast(1);
  assert.deepEqual(heard, { type: "ROOM_MESSAGE", data: { room, id: "n", seq: 8, from: "chat-2", content: "hi", at } });
});

test("a refusal comes to whoever asked, and not as an event", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  const errors = new Collected(client, "error");
  await client.connect();
  const asked = client.ask("ROOM_JOIN", { room });
  await server.until(() => server.of("ROOM_JOIN").length === 1);
  server.push(ann, { type: "GENERAL_ERROR", data: { code: "NOT_FOUND", reason: "no" }, reference: server.of("ROOM_JOIN")[0]?.reference });
  await assert.rejects(asked, (error) => error instanceof SwitchboardError && error.code === "NOT_FOUND");
  assert.deepEqual(errors.events, []);
});

test("what was not answered when the connection broke may have been done", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  await client.connect();
  const asked = client.ask("ROOM_SEND", { room, content: 1 });
  await server.until(() => server.of("ROOM_SEND").length === 1);
  server.drop();
  await assert.rejects(asked, (error) => error instanceof SwitchboardError && error.mayYetArrive);
  client.close();
  await assert.rejects(client.ask("ROOM_LIST", {}), (error) => error instanceof SwitchboardError && error.code === "NOT_CONNECTED" && !error.mayYetArrive);
  client.typing(room); // is lost, and nothing comes of it
});
