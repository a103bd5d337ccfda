import assert from "node:assert/strict";
import { test } from "node:test";
import { jsonProblem, prettyJson, userList } from "../src/json.js";

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
