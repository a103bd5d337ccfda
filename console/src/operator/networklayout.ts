// Where the parts of a picture of the network go. Nothing here touches the page: the same
// network in the same width is laid out in the same way, whatever the order it comes in.

/** What is drawn for a domain: a box. */
export interface Box {
  name: string;
  width: number;
  height: number;
}

/** What is drawn for a link: a line, with a label on it if there is room. */
export interface Line {
  from: string;
  to: string;
  label: { width: number; height: number };
  /** Whether the label is drawn even where it covers something. */
  needed: boolean;
}

export interface Point {
  x: number;
  y: number;
}

/** A line as it is drawn: straight, or bent by a point around boxes that are in its way. */
export interface Drawn {
  from: Point;
  to: Point;
  bend: Point | undefined;
  /** The middle of the label; undefined where it has no room. */
  label: Point | undefined;
}

export interface Layout {
  width: number;
  height: number;
  /** The middle of each box. */
  boxes: Map<string, Point>;
  /** As the lines were given. */
  lines: Drawn[];
}

interface Rect extends Point {
  width: number;
  height: number;
}

/** Room around everything. */
const margin = 6;
/** Between boxes at least: a label of two lines fits. */
const gap = { x: 30, y: 44 };
/** How far apart the ends of a link are, where there is room. */
const step = { x: 200, least: 90, most: 130 };
/** How much work a layout may be, in steps of the innermost loops: some tens of milliseconds. */
const budget = 4_000_000;

/** Lays boxes and lines out in a width; the first box is put to the left, and at the top. */
export function layOut(first: string, boxes: readonly Box[], lines: readonly Line[], width: number): Layout {
  const sorted = [...boxes].sort((a, b) => (a.name < b.name ? -1 : 1));
  const at = new Map(sorted.map(({ name }, i) => [name, i]));
  const ends = lines.map(({ from, to }) => [at.get(from) ?? 0, at.get(to) ?? 0] as const);
  const own = at.get(first) ?? 0;
  const hops = distances(sorted.length, ends, own);
  const work = sorted.length ** 2 * 60 + lines.length * (lines.length + sorted.length);
  const starts = Math.min(Math.max(Math.floor(budget / work / turns), 1), mostStarts);
  let best: Point[] = [];
  let least = Number.POSITIVE_INFINITY;
  for (let start = 0; start < starts; start++) {
    const shape = settle(begin(sorted.length, start), hops);
    for (let turn = 0; turn < turns; turn++) {
      const places = fit(turned(shape, (Math.PI * turn) / turns), sorted, lines, width);
      const badness = judge(places, sorted, lines, ends);
      // What is as bad but for the last digits is the same: the first one stays.
      if (badness < least - 1e-6) [best, least] = [places, badness];
    }
  }
  face(best, own);
  return draw(best, sorted, lines, ends, width);
}

/** By how much the links of the first are longer: they have the long labels. */
const aside = 0.6;
/** The directions that a shape is tried in; it may be mirrored afterwards. */
const turns = 12;
/** From so many lines on nobody can follow one: they may cross and be hidden, and others' have no labels. */
const manyLines = 300;
/** The shapes that are tried at most. */
const mostStarts = 12;

/** How far apart any two are to be: as they are in links, what is not connected far, and all a little further from the first. */
function distances(n: number, ends: readonly (readonly [number, number])[], first: number): number[][] {
  const beside: number[][] = Array.from({ length: n }, () => []);
  for (const [a, b] of ends) {
    beside[a]?.push(b);
    beside[b]?.push(a);
  }
  return beside.map((_, from) => {
    const far = new Array<number>(n).fill(Math.ceil(Math.sqrt(n)) + 1);
    far[from] = 0;
    const seen = new Set([from]);
    for (let ring = [from], hops = 1; ring.length > 0; hops++) {
      const next: number[] = [];
      for (const one of ring) {
        for (const other of beside[one] ?? []) {
          if (seen.has(other)) continue;
          seen.add(other);
          far[other] = hops;
          next.push(other);
        }
      }
      ring = next;
    }
    return far.map((hops, to) => (hops > 0 && (from === first || to === first) ? hops + aside : hops));
  });
}

/** Places to begin with: a circle, then others that are the same each time. */
function begin(n: number, start: number): Point[] {
  let seed = 12_345 + start * 7_919;
  const chance = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31;
  return Array.from({ length: n }, (_, i) => {
    if (start > 0) return { x: chance() * Math.sqrt(n), y: chance() * Math.sqrt(n) };
    const angle = (2 * Math.PI * i) / n;
    // Not quite a circle: what is quite even can get stuck.
    return { x: (n / 4 + i / 50) * Math.cos(angle), y: (n / 4) * Math.sin(angle) };
  });
}

/** Moves places until they are about as far apart as the domains are in links (stress majorization). */
function settle(places: Point[], hops: readonly number[][]): Point[] {
  for (let round = 0; round < 60; round++) {
    for (const [i, place] of places.entries()) {
      let [x, y, all] = [0, 0, 0];
      for (const [j, other] of places.entries()) {
        const want = hops[i]?.[j] ?? 0;
        if (i === j || want === 0) continue;
        const weight = 1 / (want * want);
        const [dx, dy] = [place.x - other.x, place.y - other.y];
        const is = Math.max(Math.hypot(dx, dy), 1e-9);
        x += weight * (other.x + (want * dx) / is);
        y += weight * (other.y + (want * dy) / is);
        all += weight;
      }
      if (all > 0) places[i] = { x: x / all, y: y / all };
    }
  }
  return places;
}

function turned(places: readonly Point[], angle: number): Point[] {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return places.map(({ x, y }) => ({ x: x * cos - y * sin, y: x * sin + y * cos }));
}

/** Brings a shape to the size of the picture, with no box over another. */
function fit(shape: readonly Point[], boxes: readonly Box[], lines: readonly Line[], width: number): Point[] {
  const xs = shape.map(({ x }) => x);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const widest = Math.max(...boxes.map((box) => box.width), 0);
  const label = Math.max(...lines.map((line) => line.label.width), 0);
  const room = Math.max(width - 2 * margin - widest, 0);
  const scale = Math.min(Math.max(step.x, widest + label + 40), room / Math.max(right - left, 1e-9));
  const down = Math.min(Math.max(scale * 0.75, step.least), step.most);
  const middle = (left + right) / 2;
  const places = shape.map(({ x, y }) => ({ x: width / 2 + (x - middle) * scale, y: y * down }));
  spread(places, boxes, width);
  return places;
}

/** Moves boxes off each other, within the width. */
function spread(places: Point[], boxes: readonly Box[], width: number): void {
  const inside = (i: number): void => {
    const [place, box] = [places[i], boxes[i]];
    if (place === undefined || box === undefined) return;
    const half = box.width / 2 + margin;
    place.x = width < 2 * half ? width / 2 : Math.min(Math.max(place.x, half), width - half);
  };
  for (let round = 0, moved = true; moved && round < 60; round++) {
    moved = false;
    for (let i = 0; i < places.length; i++) {
      inside(i);
      for (let j = 0; j < i; j++) {
        const [a, b] = [places[i], places[j]];
        const over = overlap(places, boxes, i, j);
        if (a === undefined || b === undefined || over === undefined) continue;
        moved = true;
        // Sideways only where there is room for it; a little is added, so that it ends.
        const sideways = over.x < over.y && over.x < width / 8;
        const by = (sideways ? over.x : over.y) / 2 + 0.5;
        const axis = sideways ? "x" : "y";
        const sign = a[axis] === b[axis] ? 1 : Math.sign(a[axis] - b[axis]);
        a[axis] += sign * by;
        b[axis] -= sign * by;
      }
    }
  }
  // Whatever is left: from the top to the bottom, each below those before that it would cover.
  const order = places.map((_, i) => i).sort((i, j) => (places[i]?.y ?? 0) - (places[j]?.y ?? 0) || i - j);
  for (const [done, i] of order.entries()) {
    inside(i);
    for (let again = true; again; ) {
      again = false;
      for (const j of order.slice(0, done)) {
        const [a, over] = [places[i], overlap(places, boxes, i, j)];
        if (a === undefined || over === undefined) continue;
        a.y += over.down + 0.5;
        again = true;
      }
    }
  }
}

/** By how much two boxes are too near each other: sideways, up or down, and down alone for the first. */
function overlap(places: readonly Point[], boxes: readonly Box[], i: number, j: number): (Point & { down: number }) | undefined {
  const [a, b, one, other] = [places[i], places[j], boxes[i], boxes[j]];
  if (a === undefined || b === undefined || one === undefined || other === undefined) return undefined;
  const x = (one.width + other.width) / 2 + gap.x - Math.abs(a.x - b.x);
  const high = (one.height + other.height) / 2 + gap.y;
  const y = high - Math.abs(a.y - b.y);
  return x > 0 && y > 0 ? { x, y, down: high - (a.y - b.y) } : undefined;
}

/** How bad places are to look at: lines under boxes, lines that cross, labels without room, height. */
function judge(places: readonly Point[], boxes: readonly Box[], lines: readonly Line[], ends: readonly (readonly [number, number])[]): number {
  const rects = rectsOf(places, boxes);
  const ys = places.map(({ y }) => y);
  let badness = (Math.max(...ys) - Math.min(...ys)) / 300;
  const few = lines.length <= manyLines;
  for (const [n, [a, b]] of ends.entries()) {
    const [from, to] = [places[a], places[b]];
    if (from === undefined || to === undefined) continue;
    if (few) for (const [i, rect] of rects.entries()) if (i !== a && i !== b && crossesRect(from, to, rect, 5)) badness += 8;
    // With something of the line to be seen on both sides of its label.
    const { width = 0, height = 0 } = lines[n]?.label ?? {};
    const label = { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2, width: width + 24, height: height + 14 };
    const covered = [rects[a], rects[b]].some((rect) => rect !== undefined && common(label, rect) > 0);
    if (covered) badness += lines[n]?.needed === true ? 4 : 2;
    badness += Math.hypot(from.x - to.x, (from.y - to.y) * 1.6) / 600;
    if (!few) continue;
    for (const [c, d] of ends.slice(0, n)) {
      const [other, end] = [places[c], places[d]];
      if (other === undefined || end === undefined || a === c || a === d || b === c || b === d) continue;
      if (cross(from, to, other, end)) badness += 3;
    }
  }
  return badness;
}

/** Mirrors places so that one is to the left, and at the top: where reading begins. */
function face(places: Point[], first: number): void {
  for (const axis of ["x", "y"] as const) {
    const all = places.map((place) => place[axis]);
    const sum = Math.min(...all) + Math.max(...all);
    const own = places[first]?.[axis];
    if (own === undefined || own <= sum / 2 + 1e-6) continue;
    for (const place of places) place[axis] = sum - place[axis];
  }
}

/** Bends lines around boxes, finds room for labels, and cuts the picture to its height. */
function draw(places: readonly Point[], boxes: readonly Box[], lines: readonly Line[], ends: readonly (readonly [number, number])[], width: number): Layout {
  const rects = rectsOf(places, boxes);
  const few = lines.length <= manyLines;
  const drawn: Drawn[] = ends.map(([a, b]) => {
    const [from, to] = [places[a] ?? { x: 0, y: 0 }, places[b] ?? { x: 0, y: 0 }];
    return { from, to, bend: few ? bendAround(from, to, rects.filter((_, i) => i !== a && i !== b), width) : undefined, label: undefined };
  });
  const labels: Rect[] = [];
  const order = lines.map((_, i) => i).sort((i, j) => Number(lines[j]?.needed) - Number(lines[i]?.needed) || compareEnds(ends[i], ends[j]));
  for (const i of order) {
    const [line, one] = [lines[i], drawn[i]];
    if (line === undefined || one === undefined || line.label.width === 0 || !(few || line.needed)) continue;
    one.label = roomFor(line, one, rects, labels, drawn, width);
    if (one.label !== undefined) labels.push({ ...one.label, ...line.label });
  }
  const all = [...rects, ...labels, ...drawn.flatMap((one) => (one.bend === undefined ? [] : [0.25, 0.5, 0.75].map((t) => ({ ...curve(one, t), width: 4, height: 4 }))))];
  const top = Math.min(...all.map((rect) => rect.y - rect.height / 2)) - margin;
  const bottom = Math.max(...all.map((rect) => rect.y + rect.height / 2)) + margin;
  const shifted = ({ x, y }: Point): Point => ({ x: round(x), y: round(y - top) });
  return {
    width,
    height: Math.ceil(bottom - top),
    boxes: new Map(boxes.map(({ name }, i) => [name, shifted(places[i] ?? { x: 0, y: 0 })])),
    lines: drawn.map(({ from, to, bend, label }) => ({
      from: shifted(from),
      to: shifted(to),
      bend: bend === undefined ? undefined : shifted(bend),
      label: label === undefined ? undefined : shifted(label),
    })),
  };
}

function compareEnds(one: readonly [number, number] | undefined, other: readonly [number, number] | undefined): number {
  return (one?.[0] ?? 0) - (other?.[0] ?? 0) || (one?.[1] ?? 0) - (other?.[1] ?? 0);
}

/** The point by which a line gets around what is in its way; undefined: it may be straight. */
function bendAround(from: Point, to: Point, others: readonly Rect[], width: number): Point | undefined {
  const hit = (bend: Point | undefined): number => {
    const points = bend === undefined ? [from, to] : [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1].map((t) => curve({ from, to, bend }, t));
    return others.filter((rect) => points.some((point, i) => i > 0 && crossesRect(points[i - 1] ?? point, point, rect, 5))).length;
  };
  let [best, least] = [undefined as Point | undefined, hit(undefined)];
  const length = Math.max(Math.hypot(to.x - from.x, to.y - from.y), 1);
  const [nx, ny] = [-(to.y - from.y) / length, (to.x - from.x) / length];
  for (const by of [50, 80, 110, 150, 200, 250, 320].flatMap((far) => [far, -far])) {
    for (const along of [0.5, 0.2, 0.8]) {
      if (least === 0) return best;
      const bend = { x: from.x + (to.x - from.x) * along + nx * by, y: from.y + (to.y - from.y) * along + ny * by };
      const inside = [0.25, 0.5, 0.75].map((t) => curve({ from, to, bend }, t).x).every((x) => x > margin && x < width - margin);
      const hits = inside ? hit(bend) : least;
      if (hits < least) [best, least] = [bend, hits];
    }
  }
  return best;
}

/** The best place for a label on its line. */
function roomFor(line: Line, one: Drawn, rects: readonly Rect[], labels: readonly Rect[], drawn: readonly Drawn[], width: number): Point | undefined {
  let best: Point | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const t of [0.5, 0.44, 0.56, 0.38, 0.62, 0.32, 0.68, 0.26, 0.74]) {
    const middle = curve(one, t);
    const x = Math.min(Math.max(middle.x, line.label.width / 2 + 1), width - line.label.width / 2 - 1);
    const rect = { x, y: middle.y, ...line.label };
    const covered = [...rects, ...labels].reduce((sum, other) => sum + common(rect, other), 0);
    if (covered > 0 && !line.needed) continue;
    const crossed = drawn.filter((other) => other !== one && crossesRect(other.from, other.to, rect, 0)).length;
    const badness = covered + crossed * 40 + Math.abs(t - 0.5) * 30;
    if (badness < least) [best, least] = [{ x: rect.x, y: rect.y }, badness];
  }
  return best;
}

/** A point of a line, from 0 at its begin to 1 at its end. */
export function curve({ from, to, bend }: Pick<Drawn, "from" | "to" | "bend">, t: number): Point {
  const by = bend ?? { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 };
  const [a, b, c] = [(1 - t) ** 2, 2 * t * (1 - t), t * t];
  return { x: a * from.x + b * by.x + c * to.x, y: a * from.y + b * by.y + c * to.y };
}

function rectsOf(places: readonly Point[], boxes: readonly Box[]): Rect[] {
  return places.map((place, i) => ({ ...place, width: boxes[i]?.width ?? 0, height: boxes[i]?.height ?? 0 }));
}

/** The area that two have in common. */
function common(a: Rect, b: Rect): number {
  const x = (a.width + b.width) / 2 - Math.abs(a.x - b.x);
  const y = (a.height + b.height) / 2 - Math.abs(a.y - b.y);
  return x > 0 && y > 0 ? Math.min(x, a.width, b.width) * Math.min(y, a.height, b.height) : 0;
}

function crossesRect(from: Point, to: Point, rect: Rect, more: number): boolean {
  // The part of the line that is within both stripes of the rectangle (Liang and Barsky).
  let [begin, end] = [0, 1];
  for (const [at, way, middle, half] of [
    [from.x, to.x - from.x, rect.x, rect.width / 2 + more],
    [from.y, to.y - from.y, rect.y, rect.height / 2 + more],
  ] as const) {
    if (way === 0) {
      if (Math.abs(at - middle) >= half) return false;
      continue;
    }
    const [one, other] = [(middle - half - at) / way, (middle + half - at) / way];
    begin = Math.max(begin, Math.min(one, other));
    end = Math.min(end, Math.max(one, other));
  }
  return begin < end;
}

function cross(a: Point, b: Point, c: Point, d: Point): boolean {
  return side(a, b, c) * side(a, b, d) < 0 && side(c, d, a) * side(c, d, b) < 0;
}

function side(a: Point, b: Point, c: Point): number {
  return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
}

function round(n: number): number {
  return Math.round(n * 10) / 10;
}
