import assert from "node:assert/strict";
import { test } from "node:test";
import type { Instance } from "../src/operator/answers.js";
import { mostRows, Services } from "../src/operator/serviceswords.js";

const instance = (service: string, name: string, more: Partial<Instance> = {}): Instance => ({
  service, instance: name, url: "http://h:1", weight: 1, ttl: 30, since: "2026-11-26T08:30:00.000Z", source: "registered", ...more,
});

const told = (services: Services, name: string, ...instances: Instance[]): void => services.take("service", JSON.stringify({ name, instances }));

test("services are what was told last of each, and those that went unseen are forgotten", () => {
  const services = new Services();
  assert.equal(services.summary, "No service is there.");
  told(services, "orders", instance("orders", "a"), instance("orders", "b"));
  told(services, "bills", instance("bills", "c"));
  services.take("services", JSON.stringify({ names: ["bills", "orders"] }));
  services.take("something new", "{");
  assert.deepEqual(services.rows.map(({ key }) => key), ["bills/c", "orders/a", "orders/b"]);
  assert.equal(services.summary, "2 services, 3 instances.");
  told(services, "orders", instance("orders", "b"));
  told(services, "bills");
  assert.deepEqual(services.rows.map(({ key }) => key), ["orders/b"]);
  services.take("services", JSON.stringify({ names: [] })); // the stream was opened again
  assert.deepEqual(services.rows, []);
});

test("a row says where an instance is known from, and how the gateway sees it where there is one", () => {
  const services = new Services();
  told(services, "orders",
    instance("orders", "a", { meta: { zone: "b", health: "/up" }, ttl: 90 }), instance("orders", "b", { source: "static" }), instance("orders", "c", { source: "node" }));
  assert.equal(services.watched, false);
  assert.deepEqual(services.rows.map(({ stays, meta, health, inFlight }) => [stays, meta, health, inFlight]), [
    ["1 min 30 s after it is renewed", "health=/up  zone=b", "–", "–"], ["in the file", "", "–", "–"], ["a node", "", "–", "–"],
  ]);
  told(services, "orders", instance("orders", "a", { health: { state: "down", since: "2026-11-26T08:30:00.000Z", reason: "refused" }, inFlight: 1200 }), instance("orders", "b", { health: { state: "new word", since: "2026-11-26T08:30:00.000Z" }, inFlight: 0 }));
  assert.equal(services.watched, true);
  assert.equal(services.summary, "1 service, 2 instances, 1 of them in trouble.");
  assert.deepEqual(services.rows.map(({ look, health, reason, inFlight }) => [look, health, reason, inFlight]), [["bad", "down", "refused", "1,200"], ["quiet", "new word", "", "0"]]);
});

test("of very many instances the first are shown, and all are counted", () => {
  const services = new Services();
  told(services, "orders", ...Array.from({ length: mostRows + 1 }, (_, i) => instance("orders", `i${i}`)));
  assert.equal(services.rows.length, mostRows);
  assert.equal(services.summary, "1 service, 501 instances. The first 500 are shown.");
});
