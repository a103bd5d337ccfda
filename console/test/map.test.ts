import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Topology } from "topojson-specification";
import { addressOf, shownBy } from "../src/map/address.js";
import { crowded, type Dot } from "../src/map/crowding.js";
import { distance, distanceText, placeText, wrapped } from "../src/map/earth.js";
import { boxOf, copies, lastLat, project, quarter, unproject, worldWidth, type Face } from "../src/map/faces.js";
import { gridIn, metresAPixel, scaleOf, scaleText, stepOf } from "../src/map/grid.js";
import { flat, outlines, parted } from "../src/map/land.js";
import { Movers } from "../src/map/movers.js";
import { wrongField } from "../src/map/refusal.js";
import { aboutIn } from "../src/server.js";

const km = 1000;
const near = (a: number, b: number, by = 1e-6): void => assert.ok(Math.abs(a - b) <= by, `${a} is not ${b}`);

test("a place comes back from every face that it is laid on", () => {
  for (const face of ["world", "north", "south"] as const satisfies Face[]) {
    for (const lat of [-84, -45, 0, 0.1, 45, 84]) {
      for (const lon of [-180, -90, -0.5, 0, 90, 179.9]) {
        const back = unproject(face, project(face, { lat, lon }));
        near(back.lat, lat);
        near(wrapped(back.lon - lon), 0);
      }
    }
  }
  assert.deepEqual(unproject("north", [0, 0]), { lat: 90, lon: 0 });
  near(Math.hypot(...project("south", { lat: 0, lon: 123 })), quarter);
});

test("what is asked for is what can be seen, over the antimeridian and around the poles", () => {
  const [x, y] = project("world", { lat: 50, lon: 180 });
  assert.deepEqual(boxOf("world", [x - worldWidth / 36, y - km, x + worldWidth / 36, y + km]).map((n) => Math.round(n)), [170, 50, -170, 50]);
  assert.deepEqual(boxOf("world", [x - worldWidth * 1.25, y - km, x - worldWidth * 1.2, y + km]).map((n) => Math.round(n)), [90, 50, 108, 50]);
  const all = boxOf("world", [-worldWidth / 2, -worldWidth, worldWidth / 2, worldWidth]);
  assert.deepEqual(all.map((n) => Number(n.toFixed(3))), [-180, Number((-lastLat).toFixed(3)), 180, Number(lastLat.toFixed(3))]);
  assert.deepEqual(boxOf("world", [0, 0, worldWidth / 2, km]).slice(0, 3), [0, 0, 180]);
  const side = quarter / 90; // a degree
  assert.deepEqual(boxOf("north", [-3 * side, -4 * side, 3 * side, 4 * side]), [-180, 85, 180, 90]);
  assert.deepEqual(boxOf("south", [-3 * side, -4 * side, 3 * side, 4 * side]), [-180, -90, 180, -85]);
  assert.deepEqual(boxOf("north", [side, side, 2 * side, 2 * side]).map((n) => Math.round(n)), [117, 87, 153, 89]);
  // Beyond the north pole lies the antimeridian.
  const beyond = boxOf("north", [-side, side, side, 2 * side]);
  assert.deepEqual(beyond.map((n) => Math.round(n)), [135, 88, -135, 89]);
  for (const face of ["north", "south"] as const) {
    for (const [left, bottom] of [[-5, -5], [1, -2], [-3, 2], [-0.5, 4], [2, 0.1]] as const) {
      const extent = [left * side, bottom * side, (left + 3) * side, (bottom + 2) * side] as const;
      const [west, south, east, north] = boxOf(face, extent);
      for (let u = 0; u <= 1; u += 0.25) {
        for (let v = 0; v <= 1; v += 0.25) {
          const { lat, lon } = unproject(face, [extent[0] + u * 3 * side, extent[1] + v * 2 * side]);
          assert.ok(lat >= south - 1e-6 && lat <= north + 1e-6, `${face} ${left} ${bottom}: ${lat} is not between ${south} and ${north}`);
          const inside = west <= east ? lon >= west - 1e-6 && lon <= east + 1e-6 : lon >= west - 1e-6 || lon <= east + 1e-6;
          assert.ok(inside, `${face} ${left} ${bottom}: ${lon} is not from ${west} to ${east}`);
        }
      }
    }
  }
});

test("where the world comes again beside itself, so do those on it", () => {
  const [x] = project("world", { lat: 0, lon: -179 });
  assert.deepEqual(copies("world", x, worldWidth * 0.4, worldWidth * 0.6), [worldWidth]);
  assert.deepEqual(copies("world", x, -worldWidth, worldWidth).length, 2);
  assert.deepEqual(copies("world", x, 0, km), []);
  assert.deepEqual(copies("north", 5, 0, 10), [0]);
  assert.deepEqual(copies("north", 15, 0, 10), []);
});

test("distances are those of the server, and are told in few digits", () => {
  near(distance({ lat: 47.37, lon: 8.54 }, { lat: 47.3771, lon: 8.5401 }), 789.7, 0.1);
  near(distance({ lat: 0, lon: 179.5 }, { lat: 0, lon: -179.5 }), distance({ lat: 0, lon: 0 }, { lat: 0, lon: 1 }));
  near(distance({ lat: 89, lon: 0 }, { lat: 89, lon: 180 }), 2 * distance({ lat: 89, lon: 0 }, { lat: 90, lon: 0 }), 1e-3);
  assert.deepEqual([0, 85.4, 999.4, 999.6, 12_340, 99_960, 4_310_000].map(distanceText), ["0 m", "85 m", "999 m", "1.0 km", "12.3 km", "100 km", "4,310 km"]);
  assert.equal(placeText({ lat: -47.37694, lon: 8.5 }), "47.3769° S, 8.5000° E");
});

test("who would lie on each other is drawn as one, and counts keep their weight", () => {
  const dot = (x: number, count = 1): Dot => ({ x, y: 0, count, id: `u${x}` });
  assert.deepEqual(crowded([dot(1), dot(9)], 10, 3).map(({ count }) => count), [1, 1]);
  assert.deepEqual(crowded([dot(1), dot(5), dot(9), dot(25)], 10, 3).map(({ x, count }) => [x, count]), [[25, 1], [5, 3]]);
  assert.deepEqual(crowded([dot(6), dot(7), dot(8), dot(11), dot(12), dot(13)], 10, 3).map(({ count }) => count), [6]);
  assert.deepEqual(crowded([dot(6), dot(7), dot(8), dot(11), dot(13)], 10, 3).map(({ x, count }) => [x, count]), [[13, 1], [7, 4]]);
  assert.deepEqual(crowded([dot(0, 9), dot(8, 1)], 10, 2).map(({ x, count }) => [x, count]), [[0.8, 10]]);
});

test("who moves goes the shorter way, and is there in a moment", () => {
  const movers = new Movers(100);
  movers.send("a", [-490, 0], 0, 1000);
  assert.deepEqual(movers.at("a", 0), [-490, 0]);
  assert.ok(!movers.moving(0));
  movers.send("a", [490, 10], 0, 1000);
  assert.deepEqual(movers.at("a", 50), [500, 5]);
  assert.ok(movers.moving(50));
  assert.deepEqual(movers.at("a", 100), [490, 10]);
  assert.ok(!movers.moving(100));
  movers.keep(new Map());
  assert.equal(movers.at("a", 200), undefined);
  const still = new Movers(0);
  still.send("a", [0, 0], 0, 0);
  still.send("a", [5, 5], 0, 0);
  assert.deepEqual(still.at("a", 0), [5, 5]);
});

test("land that crosses the antimeridian is cut there, and land around a pole has an edge", () => {
  const across = [[170, 0], [-170, 0], [-170, 10], [170, 10], [170, 0]];
  const lons = flat([across]).map(([ring = []]) => [Math.min(...ring.map(([lon = 0]) => lon)), Math.max(...ring.map(([lon = 0]) => lon))]);
  assert.deepEqual(lons, [[-180, -170], [170, 180]]);
  const around = [[-120, -70], [0, -70], [120, -70], [-120, -70]];
  const cut = flat([around]);
  assert.ok(cut.flat(2).some(([, lat = 0]) => lat < -85));
  assert.deepEqual(parted([[170, 0], [-170, 10], [-160, 10]]), [[[170, 0], [180, 5]], [[-180, 5], [-170, 10], [-160, 10]]]);
});

test("all outlines that come with the build can be laid flat on every face", () => {
  for (const file of ["countries-110m.json", "countries-50m.json"]) {
    const topology = JSON.parse(readFileSync(new URL(`../../../node_modules/world-atlas/${file}`, import.meta.url), "utf8")) as Topology;
    for (const face of ["world", "north", "south"] as const) {
      const { land, coasts, borders } = outlines(topology, face);
      assert.ok(land.length > 100 && coasts.length > 100 && borders.length > 100, `${file} ${face}`);
      for (const line of [...land.flat(), ...coasts, ...borders]) {
        for (const [i, [lon = Number.NaN, lat = Number.NaN]] of line.entries()) {
          assert.ok(Number.isFinite(lon) && Number.isFinite(lat) && Math.abs(lon) <= 180.000001 && Math.abs(lat) <= 90, `${file} ${face}: ${lon} ${lat}`);
          const before = line[i - 1]?.[0] ?? lon;
          const edge = Math.abs(lat) > 85;
          if (face === "world" && !edge && line.length > 2) assert.ok(Math.abs(lon - before) <= 181, `${file}: a line across the world at ${lat}`);
        }
      }
    }
  }
});

test("an address says what is shown, and nonsense says nothing", () => {
  const shown = { face: "north", place: { lat: 89.5, lon: -170.25 }, zoom: 6.5 } as const;
  assert.deepEqual(shownBy(addressOf(shown)), shown);
  for (const wrong of ["", "#", "#moon/1/2/3", "#world/91/0/3", "#world/0/181/3", "#world/0/0", "#world/a/0/3", "#world/0/0/99", "#world///"]) assert.equal(shownBy(wrong), undefined, wrong);
});

test("what a server says of itself is read with care", () => {
  assert.deepEqual(aboutIn({ demo: true, devices: "open", map: { ttl: 300 } }), { demo: true, door: "open", map: { ttlMs: 300_000, tiles: "", attribution: "" } });
  assert.deepEqual(aboutIn({ map: { ttl: 1.5, tiles: "/{z}/{x}/{y}", attribution: "them" } }).map, { ttlMs: 1500, tiles: "/{z}/{x}/{y}", attribution: "them" });
  for (const odd of [undefined, null, "x", [], { map: null }, { map: { ttl: "5" } }, { devices: 5 }]) assert.deepEqual(aboutIn(odd), { demo: false, door: "unknown", map: undefined });
});

test("a refusal is about the field in which something else has to stand", () => {
  const codes = ["WRONG_APP_ID", "UNKNOWN_APP", "BAD_USER_ID", "BAD_TOKEN", "TOKEN_EXPIRED", "BUSY", "toString"];
  assert.deepEqual(codes.map(wrongField), ["appId", "userId", "userId", "appToken", "appToken", undefined, undefined]);
});

test("there are lines with degrees wherever one looks, and however near", () => {
  for (const face of ["world", "north", "south"] as const) {
    for (const lat of face === "world" ? [-80, 0, 47.37, 84] : face === "north" ? [90, 89.9, 60] : [-90, -75]) {
      for (let resolution = 0.3; resolution < 40_000; resolution *= 1.7) {
        const [x, y] = project(face, { lat, lon: 179.99 });
        const lines = gridIn(face, [x - 400 * resolution, y - 300 * resolution, x + 400 * resolution, y + 300 * resolution], resolution);
        const where = `${face} ${lat}, ${resolution} m a pixel: ${lines.map(({ label }) => label).join(" ")}`;
        assert.ok(lines.length >= 4 && lines.length <= 60, where);
        for (const kind of ["meridian", "parallel"]) assert.ok(lines.some((line) => line.kind === kind), where);
        assert.ok(lines.every(({ points, label }) => points.flat().every(Number.isFinite) && /^\d+(\.\d+)?°( [NSEW])?$/.test(label)), where);
      }
    }
  }
  const [x, y] = project("world", { lat: 47.37, lon: 180 });
  const across = gridIn("world", [x - 20 * km, y - 10 * km, x + 20 * km, y + 10 * km], 50);
  assert.deepEqual(across.map(({ label }) => label), ["179.85° E", "179.90° E", "179.95° E", "180.00°", "179.95° W", "179.90° W", "179.85° W", "47.35° N", "47.40° N"]);
  assert.deepEqual([stepOf(1), stepOf(10), stepOf(110), stepOf(1e9)], [30, 20, 1, 0.00001]);
});

test("the scale is as long as it says, and in round numbers", () => {
  near(metresAPixel("world", project("world", { lat: 60, lon: 8 }), 100), 50, 0.2);
  for (const metres of [0.3, 7, 1234, 9_999]) {
    const scale = scaleOf(metres, 120);
    assert.ok(scale.px <= 120 && scale.px > 40 && Math.abs(scale.px * metres - scale.metres) < 1e-6, `${metres}: ${scale.px}`);
  }
  assert.deepEqual([20, 500, 2000, 1_000_000].map(scaleText), ["20 m", "500 m", "2 km", "1,000 km"]);
});
