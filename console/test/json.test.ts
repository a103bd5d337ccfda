import assert from "node:assert/strict";
import { test } from "node:test";
import { jsonProblem, memberTexts, prettyJson, userList } from "../src/json.js";

test("says whether a text is JSON, and why not", () => {
  for (const good of ["1", '"a"', "null", ' {"a": [1, 2]} ']) assert.equal(jsonProblem(good), undefined, good);
  for (const bad of ["", "  ", "{", "{'a': 1}", '{"half": ', "01", "undefined"]) {
    assert.match(jsonProblem(bad) ?? "", /^Not JSON yet: \S/, bad);
  }
});

test("lays JSON out and changes nothing but white space", () => {
  const text = '{"n":12345678901234567890,"e":"\\u0041 \\" , : [ ] { }","a":[1,[],{}, {"x":null}]}';
  assert.equal(
    prettyJson(text),
    [
      "{",
      '  "n": 12345678901234567890,',
      '  "e": "\\u0041 \\" , : [ ] { }",',
      '  "a": [',
      "    1,",
      "    [],",
      "    {},",
      "    {",
      '      "x": null',
      "    }",
      "  ]",
      "}",
    ].join("\n"),
  );
});

test("lays out as JSON.stringify does, and is at rest after once", () => {
  const value = { s: "a,b:{}[]\\\"\n{", list: [true, false, null, -1.5e10, "", { deep: [[["x"]]] }], empty: {}, none: [] };
  const expected = JSON.stringify(value, null, 2);
  assert.equal(prettyJson(JSON.stringify(value)), expected);
  assert.equal(prettyJson(expected), expected);
});

test("leaves alone what is not JSON", () => {
  assert.equal(prettyJson("{oops"), "{oops");
});

test("takes user IDs apart", () => {
  assert.deepEqual(userList(" ANZ-1,ANZ-2;ANZ-3\nANZ-4 "), ["ANZ-1", "ANZ-2", "ANZ-3", "ANZ-4"]);
  assert.deepEqual(userList(" , "), []);
});

test("finds the texts of a member of each element of a list, as they are", () => {
  const frames = ['{"n":12345678901234567890,"frame":{"frame":[1]},"e":"\\u0041 \\" , : [ ] { }"}', "1.0", '"a:b"', "[]", "{}", "null"];
  const element = (frame: string, i: number): string => `{"id":"${i}","frame":${frame}, "more": [{"frame": 0}]}`;
  const text = `{"other":[{"frame":1}],"messages":[${frames.map(element).join(",\n")}],"next":"frame","frame":2}`;
  JSON.parse(text);
  assert.deepEqual(memberTexts(text, "messages", "frame"), frames);
  assert.deepEqual(memberTexts('{"messages":[]}', "messages", "frame"), []);
  assert.deepEqual(memberTexts('{ "messages" : [ { "frame" : 1 } , { "frame" : [ 2 ] } ] }', "messages", "frame"), ["1", "[ 2 ]"]);
});

test("finds them in a large text at once", () => {
  const frame = JSON.stringify({ type: "MESSAGE", data: { content: "x,]}\"".repeat(12_000) } });
  const text = `{"messages":[${Array.from({ length: 50 }, () => `{"frame":${frame}}`).join(",")}]}`;
  const began = performance.now();
  const found = memberTexts(text, "messages", "frame");
  assert.equal(found.length, 50);
  assert.equal(found[49], frame);
  assert.ok(performance.now() - began < 2_000, `${performance.now() - began} ms`);
});

test("lays out a large text in a moment", () => {
  const text = `[${'{"deep":[1,2,{"x":"y"}]},'.repeat(40_000)}0]`;
  const began = performance.now();
  assert.equal(prettyJson(text), JSON.stringify(JSON.parse(text), null, 2));
  assert.ok(performance.now() - began < 3_000, `${performance.now() - began} ms`);
});
