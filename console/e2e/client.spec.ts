import { Client, type ClientOptions, type Receipt } from "@switchboard/client";
import { WebSocket } from "ws";
import { expect, test } from "./fixtures.js";
import type { Server } from "./server.js";
import { ann, ben } from "./tab.js";

const total = 3_000;
const kills = [500, 1_500, 2_500];

function clientOf(server: Server, userId: string, options: Partial<ClientOptions>): Client {
  const url = `${server.origin.replace("http", "ws")}/ws`;
  const reconnect = { baseMs: 50, maxMs: 500 };
  return new Client({ url, appId: "app-id-343", userId, token: "t", WebSocket, reconnect, ...options });
}

/** Waits until the client is online. */
function online(client: Client): Promise<void> {
  if (client.state === "online") return Promise.resolve();
  return new Promise((resolve) => {
    const off = client.on("state", ({ state }) => {
      if (state !== "online") return;
      off();
      resolve();
    });
  });
}

test("with ack and receipts nothing stored is lost, repeated or out of order, however often the server is killed", async ({ server }) => {
  test.slow();
  const receiver = clientOf(server, ben, { ack: true, push: true });
  const received: number[] = [];
  receiver.on("message", async ({ content }) => {
    received.push(content as number);
    if (received.length % 7 === 0) await new Promise((resolve) => setImmediate(resolve)); // handlers take their time
  });
  const sender = clientOf(server, ann, { ack: true, receipts: true, push: true });
  sender.on("message", () => undefined);
  await Promise.all([receiver.connect(), sender.connect()]);

  const receipts: Receipt[] = [];
  for (let n = 0; n < total; n++) {
    if (kills.includes(n)) {
      await receipts[n - 100]?.stored.catch(() => undefined); // in the midst of it, not before
      await server.kill();
      await server.resume();
    }
    await online(sender);
    receipts.push(sender.send({ to: ben, content: n, reference: String(n) }));
    if (n % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const outcomes = await Promise.allSettled(receipts.map(({ stored }) => stored));
  const stored = outcomes.flatMap(({ status }, n) => (status === "fulfilled" ? [n] : []));
  await expect.poll(() => stored.filter((n) => !received.includes(n)).length, { timeout: 30_000 }).toBe(0);
  receiver.close();
  sender.close();

  const lost = stored.filter((n) => !received.includes(n)).length;
  const duplicated = received.length - new Set(received).size;
  const reordered = received.filter((n, at) => at > 0 && n < (received[at - 1] ?? 0)).length;
  console.log(`stored ${stored.length} of ${total}, received ${received.length}: lost ${lost}, duplicated ${duplicated}, reordered ${reordered}`);
  expect({ lost, duplicated, reordered }).toEqual({ lost: 0, duplicated: 0, reordered: 0 });
  expect(stored.length).toBeGreaterThan(total / 2);
});
