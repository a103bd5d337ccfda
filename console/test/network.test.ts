import assert from "node:assert/strict";
import { test } from "node:test";
import type { Domains, Neighbour, Trace } from "../src/operator/answers.js";
import { cut, labelOf, linksOf, lookOf, nearest, pathWords, pictureWords, traceWords } from "../src/operator/network.js";
import { curve, layOut, type Box, type Layout, type Line } from "../src/operator/networklayout.js";

type Pairs = readonly (readonly [number, number])[];

const nameOf = (i: number): string => `domain-${String(i + 1).padStart(2, "0")}`;

function boxesOf(n: number): Box[] {
  return Array.from({ length: n }, (_, i) => ({ name: nameOf(i), width: i === 0 ? 104 : 96, height: i === 0 ? 44 : 32 }));
}

function linesOf(pairs: Pairs): Line[] {
  return pairs.map(([a, b]) => ({ from: nameOf(a), to: nameOf(b), label: { width: 82, height: 19 }, needed: a === 0 || b === 0 }));
}

const row: Pairs = [[0, 1], [1, 2], [2, 3]];
const ring: Pairs = [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 0]];
const star: Pairs = Array.from({ length: 11 }, (_, i) => [0, i + 1] as const);
const mesh: Pairs = Array.from({ length: 6 }, (_, i) => Array.from({ length: i }, (_, j) => [j, i] as const)).flat();
const grid: Pairs = Array.from({ length: 16 }, (_, i) => [...(i % 4 < 3 ? [[i, i + 1] as const] : []), ...(i < 12 ? [[i, i + 4] as const] : [])]).flat();
const tree: Pairs = Array.from({ length: 59 }, (_, i) => [Math.floor(i / 3), i + 1] as const);
const crowd: Pairs = Array.from({ length: 60 }, (_, i) => Array.from({ length: i }, (_, j) => [j, i] as const)).flat();
const shapes: readonly (readonly [what: string, n: number, pairs: Pairs])[] = [
  ["one", 1, []], ["two", 2, [[0, 1]]], ["row", 4, row], ["ring", 6, ring], ["star", 12, star], ["mesh", 6, mesh], ["grid", 16, grid], ["tree", 60, tree], ["crowd", 60, crowd], ["strangers", 3, [[0, 1]]],
];

function overlaps(layout: Layout, boxes: readonly Box[]): string[] {
  const found: string[] = [];
  for (const [i, a] of boxes.entries()) {
    for (const b of boxes.slice(0, i)) {
      const [p, q] = [layout.boxes.get(a.name), layout.boxes.get(b.name)];
      assert.ok(p !== undefined && q !== undefined);
      if (Math.abs(p.x - q.x) < (a.width + b.width) / 2 && Math.abs(p.y - q.y) < (a.height + b.height) / 2) found.push(`${a.name} ${b.name}`);
    }
  }
  return found;
}

/** The lines that go through a box that is not at one of their ends. */
function hidden(layout: Layout, boxes: readonly Box[], lines: readonly Line[]): string[] {
  return lines.flatMap((line, i) => {
    const drawn = layout.lines[i];
    assert.ok(drawn !== undefined);
    const points = Array.from({ length: 101 }, (_, t) => curve(drawn, t / 100));
    return boxes
      .filter(({ name }) => name !== line.from && name !== line.to)
      .filter(({ name, width, height }) => {
        const at = layout.boxes.get(name);
        return at !== undefined && points.some((p) => Math.abs(p.x - at.x) < width / 2 && Math.abs(p.y - at.y) < height / 2);
      })
      .map(({ name }) => `${line.from} ${line.to} under ${name}`);
  });
}

test("no box covers another, and all are in the picture, whatever its width", () => {
  for (const [what, n, pairs] of shapes) {
    for (const width of [250, 330, 620, 1200]) {
      const boxes = boxesOf(n);
      const layout = layOut(nameOf(0), boxes, linesOf(pairs), width);
      assert.equal(layout.width, width);
      assert.deepEqual(overlaps(layout, boxes), [], `${what} in ${width}`);
      for (const box of boxes) {
        const at = layout.boxes.get(box.name);
        assert.ok(at !== undefined, box.name);
        assert.ok(at.x - box.width / 2 >= 0 && at.x + box.width / 2 <= width, `${what} in ${width}: ${box.name} at x ${at.x}`);
        assert.ok(at.y - box.height / 2 >= 0 && at.y + box.height / 2 <= layout.height, `${what} in ${width}: ${box.name} at y ${at.y}`);
      }
    }
  }
});

test("no line goes behind a box that it does not belong to", () => {
  for (const [what, n, pairs] of shapes) {
    if (what === "crowd") continue; // 1770 lines: nothing could
    // Eleven links of one domain cannot all get through a phone's width, nor a tree of sixty through half a desk's.
    for (const width of what === "tree" ? [1200] : what === "star" ? [620, 1200] : [330, 620, 1200]) {
      const [boxes, lines] = [boxesOf(n), linesOf(pairs)];
      assert.deepEqual(hidden(layOut(nameOf(0), boxes, lines, width), boxes, lines), [], `${what} in ${width}`);
    }
  }
});

test("labels of own links are all there, those of others cover nothing", () => {
  for (const [what, n, pairs] of shapes) {
    const [boxes, lines] = [boxesOf(n), linesOf(pairs)];
    const layout = layOut(nameOf(0), boxes, lines, 700);
    for (const [i, line] of lines.entries()) {
      const at = layout.lines[i]?.label;
      if (line.needed) assert.ok(at !== undefined, `${what}: ${line.from} ${line.to}`);
      if (line.needed || at === undefined) continue;
      for (const box of boxes) {
        const place = layout.boxes.get(box.name);
        assert.ok(place !== undefined);
        const clear = Math.abs(place.x - at.x) >= (box.width + line.label.width) / 2 - 0.2 || Math.abs(place.y - at.y) >= (box.height + line.label.height) / 2 - 0.2;
        assert.ok(clear, `${what}: the label of ${line.from} ${line.to} covers ${box.name}`);
      }
    }
  }
});

test("the same network looks the same, in whatever order it comes, and begins with this domain", () => {
  for (const [what, n, pairs] of shapes) {
    const [boxes, lines] = [boxesOf(n), linesOf(pairs)];
    const one = layOut(nameOf(0), boxes, lines, 800);
    const other = layOut(nameOf(0), [...boxes].reverse(), lines, 800);
    for (const { name } of boxes) assert.deepEqual(one.boxes.get(name), other.boxes.get(name), `${what}: ${name}`);
    const xs = [...one.boxes.values()].map(({ x }) => x);
    assert.ok((one.boxes.get(nameOf(0))?.x ?? 0) <= (Math.min(...xs) + Math.max(...xs)) / 2 + 0.2, what);
  }
});

test("a row lies where there is room, with all its labels", () => {
  const layout = layOut(nameOf(0), boxesOf(4), linesOf(row), 1200);
  const [xs, ys] = [[...layout.boxes.values()].map(({ x }) => x), [...layout.boxes.values()].map(({ y }) => y)];
  assert.deepEqual([...xs].sort((a, b) => a - b), xs);
  assert.ok(Math.max(...xs) - Math.min(...xs) > 500 && Math.max(...ys) - Math.min(...ys) < 50, JSON.stringify([xs, ys]));
  assert.ok(layout.lines.every(({ label }) => label !== undefined));
});

test("the largest picture is laid out in a moment", () => {
  const begin = performance.now();
  layOut(nameOf(0), boxesOf(60), linesOf(crowd), 1200);
  layOut(nameOf(0), boxesOf(60), linesOf(tree), 1200);
  assert.ok(performance.now() - begin < 5_000); // a tenth of it, on a machine that has nothing else to do
});

const up = { state: "up" };
const down = { state: "down", why: "x" };

function neighbour(domain: string, more: Partial<Neighbour> = {}): Neighbour {
  return { domain, cost: 1, receiving: up, sending: up, waiting: { messages: 0, bytes: 0 }, ...more };
}

test("says of a link in a word how both its directions are", () => {
  const cases: [Partial<Neighbour>, string, string][] = [
    [{}, "up", "up"],
    [{ sending: down }, "half", "only receiving"],
    [{ receiving: down }, "half", "only sending"],
    [{ receiving: down, sending: down }, "down", "down"],
    [{ receiving: { state: "waiting" } }, "held", "held"],
    [{ receiving: { state: "waiting" }, sending: down }, "held", "held"],
    [{ receiving: { state: "unheard of" }, sending: down }, "down", "down"],
  ];
  for (const [more, look, state] of cases) assert.deepEqual(lookOf(neighbour("x", more)), { look, state });
});

const network: Domains = {
  domain: "b",
  version: 7,
  neighbours: [neighbour("a"), neighbour("c", { cost: 2000, sending: down, receiving: down, waiting: { messages: 1200, bytes: 5000 } })],
  domains: [
    { domain: "a", urls: [], next: "a", path: ["b", "a"], cost: 1 },
    { domain: "c", urls: [], next: "c", path: ["b", "c"], cost: 2000 },
    { domain: "d", urls: [], next: "a", path: ["b", "a", "d"], cost: 2 },
  ],
  links: [{ n1: "a", n2: "d", cost: 1 }, { n1: "a", n2: "b", cost: 1 }, { n1: "b", n2: "c", cost: 2000 }],
};

test("shows own links first and from this side, and of others' no state", () => {
  const links = linksOf(network);
  assert.deepEqual(links.map(({ n1, n2, look, waiting }) => [n1, n2, look, waiting]), [["b", "a", "up", 0], ["b", "c", "down", 1200], ["a", "d", "foreign", 0]]);
  assert.deepEqual(links.map(labelOf), [["up, cost 1"], ["down, cost 2 k", "1.2 k waiting"], ["cost 1"]]);
  assert.equal(pictureWords("b", 4, links), "Picture of 4 domains and 3 links. This domain is b. Its links: a up; c down, 1,200 waiting. The tables on this page say the same.");
  assert.deepEqual(nearest(network, 3), ["b", "a", "d"]);
  assert.deepEqual(nearest(network, 60), ["b", "a", "d", "c"]);
});

test("cuts long names in the middle, and long paths at the end", () => {
  assert.equal(cut("domain-02", 20), "domain-02");
  assert.equal(cut("a_very_long_name_of_a_domain_1", 13), "a_very…main_1");
  assert.equal(pathWords(["a", "b"]), "a → b");
  assert.equal(pathWords(Array.from({ length: 30 }, (_, i) => String(i))), "0 → 1 → 2 → 3 → 4 → 5 → 6 → 7 → 8 → 9 → 10 → 11 → … (29 links)");
});

test("says what would become of a message to a user", () => {
  const trace = (more: Partial<Trace>): string => {
    const { where, what, good } = traceWords({ userId: "ANZ-7", local: false, version: 1, path: [], cost: 0, ...more });
    return `${where} ${what} ${good}`;
  };
  assert.equal(trace({ local: true, domain: "a" }), "ANZ-7 lives here, in a. A message to this user crosses no link. true");
  assert.equal(trace({ local: true }), "ANZ-7 lives here. A message to this user crosses no link. true");
  assert.match(trace({}), /lives nowhere.*NO_ROUTE.*false$/);
  assert.match(trace({ domain: "z" }), /lives in z\. No way leads there.*NO_ROUTE.*false$/);
  const way = { domain: "c", path: ["a", "b", "c"], next: "b" };
  assert.match(trace({ ...way, sending: up }), /goes on its way to b at once\. true$/);
  assert.match(trace({ ...way, sending: down }), /waits here until b is connected\. false$/);
  assert.match(trace({ domain: "z", path: Array.from({ length: 12 }, (_, i) => String(i)), sending: up }), /over 11 links.*TOO_MANY_HOPS.*false$/);
});
