import assert from "node:assert/strict";
import { test } from "node:test";
import type { Settings } from "../src/operator/answers.js";
import { shownSettings, sourceWords, summaryOf, troubleHead } from "../src/operator/settingswords.js";

const source = { url: "http://meta:9000", profile: "eu", commit: "4f1d2a6c0b9e8d7f", files: ["switchboard.yaml"], following: true };
const settings: Settings = {
  pending: [],
  troubles: [],
  settings: [
    { key: "listen", value: "127.0.0.1:8088", from: "default", live: false },
    { key: "limits.frame", value: "32KiB", from: "repository", place: "switchboard.yaml:2 in commit 4f1d2a6c0b", live: true },
    { key: "origins", value: "", from: "file", place: "s.yaml:1", live: true },
  ],
};
const trouble = { kind: "bad", since: "2026-11-26T09:00:00.000Z", commit: "9b1c00000000000000", text: ["limits.frame: no"] };

test("the sentence says what an operator has to know first", () => {
  assert.equal(summaryOf(settings).shape, "good");
  assert.equal(summaryOf({ ...settings, source }).words, "All is as it is written, in the repository too.");
  assert.equal(summaryOf({ ...settings, source: { ...source, following: false } }).shape, "warn");
  assert.match(summaryOf({ ...settings, source, pending: [{ key: "log.format", value: "json" }] }).words, /One setting takes effect at the next start\.$/);
  const bad = summaryOf({ ...settings, source, troubles: [trouble], pending: [{ key: "a" }, { key: "b" }] });
  assert.equal(bad.shape, "bad");
  assert.match(bad.words, /is good; what is newer is not.* 2 settings take/);
  assert.match(sourceWords({ ...settings, source }), /http:\/\/meta:9000, profile eu/);
  assert.match(sourceWords(settings), /settings\.url names none/);
});

test("each kind of trouble has words", () => {
  assert.equal(troubleHead(trouble), "Commit 9b1c000000 is not good");
  const kinds = ["bad", "repository", "effect", "disk", "copy", "stream", "unreachable", "status", "answer"];
  for (const kind of kinds) assert.notEqual(troubleHead({ kind, since: trouble.since, text: [] }), "");
});

test("defaults are shown on demand, and keys can be looked for", () => {
  assert.deepEqual(shownSettings(settings, "", false).map(({ key }) => key), ["limits.frame", "origins"]);
  assert.deepEqual(shownSettings(settings, "LIST", true), [{ key: "listen", value: "127.0.0.1:8088", from: "default", place: "", changes: "restart" }]);
  assert.equal(shownSettings(settings, "origins", false)[0]?.value, "–");
});
