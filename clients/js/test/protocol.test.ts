import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { WebSocket } from "ws";
import { closeMeanings } from "../src/errors.js";
import type { WebSocketConstructor } from "../src/index.js";
import { maxSeq, seqWindow } from "../src/outbox.js";
import { rawValue } from "../src/rawjson.js";

test("close codes are those of the server, and so is what may be tried again", async () => {
  // From build/test/ to the repository's root.
  const source = await readFile(new URL("../../../../wire/closecodes.go", import.meta.url), "utf8");
  const numbers = new Map([...source.matchAll(/^\t(Close\w+)\s*= (\d+)$/gm)].map(([, name, code]) => [name, code]));
  const rows = [...source.matchAll(/\{(Close\w+), "(\w+)", ".*", (true|false)\}/g)];
  const theirs = rows.map(([, name, code, retry]) => [Number(numbers.get(name)), code, retry === "true"]);
  const ours = Object.entries(closeMeanings).map(([code, { code: name, final }]) => [Number(code), name, final !== true]);
  assert.ok(theirs.length > 10);
  assert.deepEqual(ours, theirs);
});

test("numbers of a producer have the server's bounds", async () => {
  const source = await readFile(new URL("../../../../wire/data.go", import.meta.url), "utf8");
  assert.ok(source.includes(`SeqWindow = ${seqWindow}\n`));
  assert.ok(source.includes("MaxSeq = 1<<53 - 1\n"));
  assert.equal(maxSeq, 2 ** 53 - 1);
});

test("the WebSocket classes in use fit", () => {
  const classes: WebSocketConstructor[] = [WebSocket];
  const inBrowsers = (): WebSocketConstructor => globalThis.WebSocket;
  assert.equal(classes.length, 1);
  assert.equal(typeof inBrowsers, "function");
});

test("finds the text of a value inside JSON", () => {
  const json = ' { "a\\u0062" : [1, {"x":"}\\"]"}] , "n":1e400,"o":{"p":{}},"s":"\\\\","o":{"p": null } } ';
  assert.equal(rawValue(json, ["ab"]), '[1, {"x":"}\\"]"}]');
  assert.equal(rawValue(json, ["n"]), "1e400");
  assert.equal(rawValue(json, ["s"]), '"\\\\"');
  assert.equal(rawValue(json, ["o", "p"]), "null");
  assert.equal(rawValue(json, []), json.trim());
  assert.equal(rawValue(json, ["none"]), undefined);
  assert.equal(rawValue(json, ["n", "m"]), undefined);
  assert.equal(rawValue("{}", ["a"]), undefined);
});
