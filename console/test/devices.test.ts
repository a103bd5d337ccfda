import assert from "node:assert/strict";
import { test } from "node:test";
import { amountOf, withMore, type JournalEvent } from "../src/devices/events.js";
import { doorOf, endingOf, hear, refusalOf, wrongIn } from "../src/devices/lines.js";
import { Looks, mostLines, others, shown, Windows, type ToldGroup } from "../src/devices/windows.js";

test("a line is what the server says, whatever peers are called and say", () => {
  assert.deepEqual(hear("Connected and handled by node1_7", undefined), { kind: "handled", by: "node1_7" });
  assert.deepEqual(hear("I matched with device 'c'!", undefined), { kind: "matched", peer: "c" });
  assert.deepEqual(hear("I matched with device 'it's'!'!", undefined), { kind: "matched", peer: "it's'!" });
  assert.deepEqual(hear("device c says: ciao", "c"), { kind: "said", peer: "c", text: "ciao" });
  assert.deepEqual(hear("device c says: device 'c' left", "c"), { kind: "said", peer: "c", text: "device 'c' left" });
  assert.deepEqual(hear("device c says: I matched with device 'x'!", "c"), { kind: "said", peer: "c", text: "I matched with device 'x'!" });
  assert.deepEqual(hear("device 'c says: x' left", "c says: x"), { kind: "left", peer: "c says: x" });
  assert.deepEqual(hear("device 'c' left", "b"), { kind: "other" });
});

test("what was lost is connected again, and what was ended on purpose is not", () => {
  for (const code of [1001, 1006, 1011, 1012, 4007]) assert.equal(endingOf(code, "").again, true, String(code));
  for (const code of [1002, 1009, 4005, 4009]) assert.equal(endingOf(code, "").again, false, String(code));
  assert.equal(endingOf(1009, "a frame is too large").sentence, "The server closed the connection. A frame is too large. (1009)");
});

test("what is wrong in who and where a device is is found before it connects", () => {
  const good = { id: "a", lat: "1", lon: "-2.5e3" };
  assert.equal(wrongIn(good), undefined);
  for (const [wrong, field] of [[{ id: "" }, "id"], [{ id: "é".repeat(65) }, "id"], [{ id: "a\u0007" }, "id"], [{ lat: "1,5" }, "lat"], [{ lat: "0x10" }, "lat"], [{ lon: "1e10" }, "lon"], [{ lon: "" }, "lon"]] as const) {
    assert.equal(wrongIn({ ...good, ...wrong })?.field, field, JSON.stringify(wrong));
  }
  assert.equal(doorOf({ id: "a&b", lat: " 1.50", lon: "2" }, { auth: "k", appId: "" }), "device/connect?id=a%26b&lat=1.5&lon=2&auth=k");
});

const group = (device: string, count: number): ToldGroup => ({ device, count, sum: count * 4, min: 4, max: 4, mean: 4 });
const at = (s: number): string => new Date(s * 1000).toISOString();

test("what is told later of a window takes the place of what was told, and quiet windows are zeros", () => {
  const windows = new Windows("device", 10_000, 1_000_005_000);
  windows.take({ start: at(999_990), end: at(1_000_000), final: false, groups: [group("a", 1), group("", 2)] });
  windows.take({ start: at(999_990), end: at(1_000_000), final: true, groups: [group("a", 3)] });
  assert.deepEqual(windows.names(), ["a", "no device"]);
  assert.equal(windows.times().length, shown);
  assert.equal(windows.times().at(-1), 1_000_000);
  assert.deepEqual(windows.values("a", windows.names(), ({ count }) => count).slice(-3), [0, 3, 0]);
  assert.deepEqual(windows.rows(10).map(({ name, final, group: { sum } }) => [name, final, sum]), [["a", true, 12], ["no device", true, 8]]);
  windows.moveTo(1_000_005_000 + shown * 10_000);
  assert.equal(windows.isEmpty, true);
});

test("the groups with the most messages have lines, and the rest share one", () => {
  const windows = new Windows("device", 10_000, 1_000_005_000);
  windows.take({ start: at(1_000_000), end: at(1_000_010), final: false, groups: Array.from({ length: 8 }, (_, i) => group(`d${i}`, i + 1)) });
  const names = windows.names();
  assert.deepEqual(names, ["d7", "d6", "d5", "d4", "d3", others]);
  assert.equal(windows.values(others, names, ({ count }) => count).at(-1), 1 + 2 + 3);
});

test("events are shown once, the newest first, and no more than may be", () => {
  const event = (id: string): JournalEvent => ({ id, at: at(0), stored: at(0), type: "bytesSent", amount: 4 });
  const list = withMore([event("2"), event("1")], [event("2"), event("3"), event("4"), event("4")], 3);
  assert.deepEqual(list.map(({ id }) => id), ["4", "3", "2"]);
  assert.equal(amountOf({ ...event("1"), count: 2 }), "4 B in 2 messages");
  assert.equal(amountOf({ ...event("1"), type: "matched", amount: 1 }), "");
});

test("a name keeps its look while others come, go and change places, and two that are shown never share one", () => {
  const looks = new Looks();
  assert.deepEqual(looks.of(["a", "b"]), [{ name: "a", look: 0 }, { name: "b", look: 1 }]);
  assert.deepEqual(looks.of(["b", "c", "a"]), [{ name: "a", look: 0 }, { name: "b", look: 1 }, { name: "c", look: 2 }]);
  assert.deepEqual(looks.of(["c"]), [{ name: "c", look: 2 }]);
  const many = looks.of(["c", "d", "e", "f", "a", others]);
  assert.deepEqual(many.find(({ name }) => name === "c"), { name: "c", look: 2 });
  assert.deepEqual(many.find(({ name }) => name === "a"), { name: "a", look: 0 });
  assert.equal(new Set(many.map(({ look }) => look)).size, mostLines);
});

test("what the server refuses is said, and tried again only where that may help", () => {
  assert.deepEqual(refusalOf({ code: "SCOPE_MISSING", mayPass: false }, "The key lacks it."), { again: false, sentence: "The server does not let this device in. The key lacks it." });
  assert.deepEqual(refusalOf({ code: "BUSY", mayPass: true }, "Full. (BUSY)"), { again: true, sentence: "Full. (BUSY)" });
  assert.equal(refusalOf({ code: "UPGRADE_REQUIRED", mayPass: false }, "").again, true);
});
