import assert from "node:assert/strict";
import { test } from "node:test";
import { NearbyView, type Neighbour } from "../src/index.js";
import { ann, clientOf, Collected, startServer } from "./support.js";

const near = (userId: string, distance: number): Neighbour => ({ userId, lat: 1, lon: 2, at: "2026-11-26T10:00:00.000Z", distance });

test("a watch is answered, and the answer is an event, as the changes are", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  const news = new Collected(client, "nearby");
  await client.connect();
  client.position({ lat: 1, lon: 2, speed: 3 });
  const asked = client.ask("NEARBY_WATCH", { id: "map", lat: 1, lon: 2, radius: 500 });
  await server.until(() => server.of("NEARBY_WATCH").length === 1);
  assert.deepEqual(server.of("POSITION")[0]?.data, { lat: 1, lon: 2, speed: 3 });
  assert.deepEqual(server.of("NEARBY_WATCH")[0]?.data, { id: "map", lat: 1, lon: 2, radius: 500 });
  const reference = server.of("NEARBY_WATCH")[0]?.reference;
  server.push(ann, { type: "NEARBY", data: { id: "map", users: [near("ANZ-2", 5)], total: 1 }, reference });
  server.push(ann, { type: "NEARBY_ENTER", data: { id: "map", users: [near("ANZ-3", 6)] } });
  server.push(ann, { type: "NEARBY_MOVE", data: { id: "map", users: [near("ANZ-3", 7)] } });
  server.push(ann, { type: "NEARBY_LEAVE", data: { id: "map", users: ["ANZ-2"] } });
  assert.deepEqual(await asked, { id: "map", users: [near("ANZ-2", 5)], total: 1 });
  const view = new NearbyView("map");
  for (const one of await news.atLeast(4)) assert.equal(view.take(one), true);
  assert.deepEqual([...view.users.values()], [near("ANZ-3", 7)]);
  client.unwatch("map");
  await server.until(() => server.of("NEARBY_UNWATCH").length === 1);
});

test("a view adds up users, then counts, then users again", () => {
  const view = new NearbyView("map");
  assert.equal(view.take({ type: "NEARBY_LEAVE", data: { id: "other", users: [] } }), false);
  view.take({ type: "NEARBY", data: { id: "map", users: [near("ANZ-2", 5)], total: 1 } });
  assert.equal(view.total, 1);
  view.take({
    type: "NEARBY",
    data: {
      id: "map",
      total: 9,
      cells: [
        { lat: 1, lon: 2, count: 4 },
        { lat: 3, lon: 4, count: 5 },
      ],
    },
  });
  assert.deepEqual([view.users.size, view.total], [0, 9]);
  view.take({
    type: "NEARBY_MOVE",
    data: {
      id: "map",
      cells: [
        { lat: 1, lon: 2, count: 0 },
        { lat: 3, lon: 4, count: 6 },
      ],
    },
  });
  assert.deepEqual([...(view.cells?.values() ?? [])], [{ lat: 3, lon: 4, count: 6 }]);
  assert.equal(view.total, 6);
  view.take({ type: "NEARBY", data: { id: "map", users: [], total: 0 } });
  assert.deepEqual([view.users.size, view.cells], [0, undefined]);
});

test("hiding is fulfilled when the server says so", async (t) => {
  const server = await startServer(t);
  const client = clientOf(t, server);
  await client.connect();
  const hidden = client.ask("POSITION_HIDE", {});
  await server.until(() => server.of("POSITION_HIDE").length === 1);
  server.push(ann, { type: "POSITION_HIDDEN", data: {}, reference: server.of("POSITION_HIDE")[0]?.reference });
  assert.deepEqual(await hidden, {});
});
