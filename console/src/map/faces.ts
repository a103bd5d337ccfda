// How the earth is laid flat. Nothing here touches the page or the library that draws.

import { wrapped, type Box, type Place } from "./earth.js";

/** What is shown: all but the poles, or what is around one of them. */
export type Face = "world" | "north" | "south";

export type XY = readonly [x: number, y: number];

/** A part of the plane: left, bottom, right, top. */
export type Extent = readonly [number, number, number, number];

const radius = 6378137;
const rad = Math.PI / 180;

/** From the middle of the world to its edge. */
const half = Math.PI * radius;

/** The width of the world where it comes again beside itself. */
export const worldWidth = 2 * half;

/** From a pole to the equator. */
export const quarter = half / 2;

/** Where the world's face ends. */
export const lastLat = 85.0511287;

export function isFace(name: string): name is Face {
  return name === "world" || name === "north" || name === "south";
}

/** Web Mercator for the world; around a pole azimuthal and equidistant, with 0° towards the reader in the north, and away from him in the south. */
export function project(face: Face, { lat, lon }: Place): XY {
  if (face === "world") {
    const bounded = Math.min(Math.max(lat, -lastLat), lastLat);
    return [radius * lon * rad, radius * Math.log(Math.tan(Math.PI / 4 + (bounded * rad) / 2))];
  }
  const far = radius * (90 - (face === "north" ? lat : -lat)) * rad;
  return [far * Math.sin(lon * rad), (face === "north" ? -far : far) * Math.cos(lon * rad)];
}

export function unproject(face: Face, [x, y]: XY): Place {
  if (face === "world") return { lat: (2 * Math.atan(Math.exp(y / radius)) - Math.PI / 2) / rad, lon: wrapped(x / radius / rad) };
  const lat = Math.max(90 - Math.hypot(x, y) / radius / rad, -90);
  return { lat: face === "north" ? lat : -lat, lon: x === 0 && y === 0 ? 0 : wrapped(Math.atan2(x, face === "north" ? -y : y) / rad) };
}

/** The smallest box that has all in it that can be seen. */
export function boxOf(face: Face, extent: Extent): Box {
  return (face === "world" ? boxOfWorld(extent) : boxAroundPole(face, extent)).map((n) => Number(n.toFixed(7))) as Box;
}

function boxOfWorld([left, bottom, right, top]: Extent): Box {
  const south = Math.max(unproject("world", [0, bottom]).lat, -lastLat);
  const north = Math.min(unproject("world", [0, top]).lat, lastLat);
  if (right - left >= worldWidth * 0.99999) return [-180, south, 180, north];
  const west = wrapped(left / radius / rad);
  const east = wrapped(right / radius / rad);
  return [west, south, east === -180 ? 180 : east, north];
}

function boxAroundPole(face: "north" | "south", [left, bottom, right, top]: Extent): Box {
  const corners = ([[left, bottom], [right, bottom], [right, top], [left, top]] as const).map((corner) => unproject(face, corner));
  const farthest = face === "north" ? Math.min(...corners.map(({ lat }) => lat)) : Math.max(...corners.map(({ lat }) => lat));
  const nearest: XY = [Math.min(Math.max(0, left), right), Math.min(Math.max(0, bottom), top)];
  const { lat } = unproject(face, nearest);
  const [south, north] = face === "north" ? [farthest, lat] : [lat, farthest];
  if (nearest[0] === 0 && nearest[1] === 0) return face === "north" ? [-180, south, 180, 90] : [-180, -90, 180, north];
  // Seen from a pole that is not in it, a box is less than half of all directions wide, and widest from corner to corner.
  const middle = unproject(face, [(left + right) / 2, (bottom + top) / 2]).lon;
  const turns = corners.map(({ lon }) => wrapped(lon - middle));
  const east = wrapped(middle + Math.max(...turns));
  return [wrapped(middle + Math.min(...turns)), south, east === -180 ? 180 : east, north];
}

/** How far to the side the world has to be moved, each time, so that x comes to lie between left and right. */
export function copies(face: Face, x: number, left: number, right: number): number[] {
  if (face !== "world") return x >= left && x <= right ? [0] : [];
  const shifts: number[] = [];
  for (let n = Math.ceil((left - x) / worldWidth); x + n * worldWidth <= right; n++) shifts.push(n * worldWidth);
  return shifts;
}
