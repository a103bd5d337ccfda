// What is land, cut so that it can be laid flat. Nothing here touches the page.

import { feature, mesh } from "topojson-client";
import type { GeometryObject, Topology } from "topojson-specification";
import type { GeoJsonProperties, MultiPolygon, Position } from "geojson";
import { lastLat, type Face } from "./faces.js";

/** Outlines in degrees: polygons to be filled, and lines. */
export interface Outlines {
  land: Position[][][];
  coasts: Position[][];
  borders: Position[][];
}

/** Antarctica, and nothing else, lies wholly south of it. */
const antarctic = -58;

/** Reads the outlines for a face. In the topology they are on a sphere, without an edge. */
export function outlines(topology: Topology, face: Face): Outlines {
  const { land, countries } = topology.objects;
  if (land === undefined || countries === undefined) return { land: [], coasts: [], borders: [] };
  const polygons = polygonsOf(topology, land);
  const lines = {
    coasts: mesh(topology, land as GeometryObject<Record<string, unknown>>).coordinates,
    borders: mesh(topology, countries as never, (a, b) => a !== b).coordinates,
  };
  if (face === "world") return { land: polygons.flatMap(flat), coasts: lines.coasts.flatMap(parted), borders: lines.borders.flatMap(parted) };
  // Around a pole all of it lies as on the sphere, but for what lies around the other one.
  const near = (line: Position[]): boolean => face === "south" || line.some((at) => latOf(at) > antarctic);
  return { land: polygons.filter(([outer = []]) => near(outer)), coasts: lines.coasts.filter(near), borders: lines.borders };
}

function polygonsOf(topology: Topology, land: GeometryObject<GeoJsonProperties>): Position[][][] {
  const found = feature(topology, land as GeometryObject<Record<string, unknown>>);
  const geometries = found.type === "FeatureCollection" ? found.features.map(({ geometry }) => geometry) : [found.geometry];
  return geometries.filter((one): one is MultiPolygon => one.type === "MultiPolygon").flatMap(({ coordinates }) => coordinates);
}

function lonOf(at: Position): number {
  return at[0] ?? 0;
}

function latOf(at: Position): number {
  return at[1] ?? 0;
}

/** Goes along a line without jumping from one side of the world to the other. */
export function unrolled(line: readonly Position[]): Position[] {
  let turn = 0;
  return line.map((at, i) => {
    const step = i === 0 ? 0 : lonOf(at) - lonOf(line[i - 1] ?? at);
    turn -= step > 180 ? 360 : step < -180 ? -360 : 0;
    return [lonOf(at) + turn, latOf(at)];
  });
}

/** Cuts a polygon where the world ends; what lies beyond comes in at the other side. */
export function flat(polygon: readonly Position[][]): Position[][][] {
  const rings = polygon.map((ring) => closed(unrolled(ring)));
  const lons = (rings[0] ?? []).map(lonOf);
  const [least, most] = [Math.min(...lons), Math.max(...lons)];
  const cut: Position[][][] = [];
  for (let turn = Math.ceil((-180 - most) / 360); least + turn * 360 < 180; turn++) {
    const parts = rings.map((ring) => between(moved(ring, turn * 360))).filter((ring) => ring.length > 3);
    if (parts.length > 0) cut.push(parts);
  }
  return cut;
}

/** A ring around a pole goes there and back at the world's edge. */
function closed(ring: Position[]): Position[] {
  const first = ring[0] ?? [0, 0];
  const last = ring.at(-1) ?? first;
  if (Math.abs(lonOf(last) - lonOf(first)) < 180) return ring;
  const pole = latOf(first) < 0 ? -lastLat : lastLat;
  return [...ring, [lonOf(last), pole], [lonOf(first), pole], first];
}

function moved(ring: readonly Position[], by: number): Position[] {
  return ring.map((at) => [lonOf(at) + by, latOf(at)]);
}

/** What of a ring lies in the world. */
function between(ring: readonly Position[]): Position[] {
  const right = clipped(ring, -180, (lon) => lon >= -180);
  const both = clipped(right, 180, (lon) => lon <= 180);
  const first = both[0];
  return first === undefined ? [] : [...both, first];
}

/** What of a ring lies on one side of a meridian. */
function clipped(ring: readonly Position[], meridian: number, inside: (lon: number) => boolean): Position[] {
  const kept: Position[] = [];
  for (const [i, at] of ring.entries()) {
    const before = ring.at(i - 1) ?? at;
    if (inside(lonOf(at)) !== inside(lonOf(before))) kept.push(crossing(before, at, meridian));
    if (inside(lonOf(at))) kept.push(at);
  }
  return kept;
}

function crossing(a: Position, b: Position, meridian: number): Position {
  const step = lonOf(b) - lonOf(a);
  const part = step === 0 ? 0 : (meridian - lonOf(a)) / step;
  return [meridian, latOf(a) + part * (latOf(b) - latOf(a))];
}

/** Parts a line where the world ends. */
export function parted(line: readonly Position[]): Position[][] {
  const parts: Position[][] = [[]];
  for (const [i, at] of line.entries()) {
    const before = line[i - 1];
    if (before !== undefined && Math.abs(lonOf(at) - lonOf(before)) > 180) {
      const edge = lonOf(before) > 0 ? 180 : -180;
      const beyond: Position = [lonOf(at) + 2 * edge, latOf(at)];
      const [, lat = 0] = crossing(before, beyond, edge);
      parts.at(-1)?.push([edge, lat]);
      parts.push([[-edge, lat]]);
    }
    parts.at(-1)?.push(at);
  }
  return parts.filter((part) => part.length > 1);
}
