// Meridians and parallels, as near to each other as one looks. Nothing here touches the page.

import { distance } from "./earth.js";
import { boxOf, lastLat, project, unproject, type Extent, type Face, type XY } from "./faces.js";

/** A line of the grid, with where on the plane its degrees may be written, best first. */
export interface GridLine {
  points: XY[];
  label: string;
  kind: "meridian" | "parallel";
}

const rad = Math.PI / 180;
const steps = [30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001, 0.00005, 0.00002, 0.00001];

/** Lines are at least so many pixels from each other. */
const apartPx = 110;

/** So many pieces make a line look round. */
const pieces = 72;

/** The step between lines where a degree has so many pixels. */
export function stepOf(pixelsADegree: number): number {
  return steps.findLast((step) => step * pixelsADegree >= apartPx) ?? 30;
}

/** All lines that cross a part of the plane, seen with so many metres a pixel. */
export function gridIn(face: Face, extent: Extent, resolution: number): GridLine[] {
  return face === "world" ? worldGrid(extent, resolution) : poleGrid(face, extent, resolution);
}

function worldGrid(extent: Extent, resolution: number): GridLine[] {
  const [left, bottom, right, top] = extent;
  const degree = project("world", { lat: 0, lon: 1 })[0];
  const [lonStep, latStep] = [stepOf(degree / resolution), stepOf(degree / resolution / Math.cos(unproject("world", [0, (bottom + top) / 2]).lat * rad))];
  const south = Math.max(unproject("world", [0, bottom]).lat, -lastLat);
  const north = Math.min(unproject("world", [0, top]).lat, lastLat);
  const lats = [south, north].map((lat) => project("world", { lat, lon: 0 })[1]) as [number, number];
  // The world comes again beside itself: these go on beyond 180°.
  const meridians = multiples(left / degree, right / degree, lonStep).map((lon): GridLine => ({ points: [[lon * degree, lats[0]], [lon * degree, lats[1]]], label: lonText(lon, lonStep), kind: "meridian" }));
  const parallels = multiples(south, north, latStep).map((lat): GridLine => {
    const y = project("world", { lat, lon: 0 })[1];
    return { points: [[left, y], [right, y]], label: latText(lat, latStep), kind: "parallel" };
  });
  return [...meridians, ...parallels];
}

function poleGrid(face: "north" | "south", extent: Extent, resolution: number): GridLine[] {
  const [west, south, east, north] = boxOf(face, extent);
  const width = east >= west ? east - west : east - west + 360;
  const degree = Math.abs(project(face, { lat: face === "north" ? 89 : -89, lon: 0 })[1]);
  // As far from the pole as the middle of what is seen: nearer to it they come together.
  const far = (face === "north" ? 180 - south - north : 180 + south + north) / 2;
  const [lonStep, latStep] = [stepOf((far * rad * degree) / resolution), stepOf(degree / resolution)];
  const [first, last] = face === "north" ? [south, north] : [north, south];
  const meridians = multiples(west, width === 360 ? west + 359.99 : west + width, lonStep).map((lon): GridLine => ({ points: along((part) => project(face, { lat: first + part * (last - first), lon })), label: lonText(lon, lonStep), kind: "meridian" }));
  const parallels = multiples(south, north, latStep)
    .filter((lat) => Math.abs(lat) < 90)
    .map((lat): GridLine => ({ points: along((part) => project(face, { lat, lon: west + part * width })), label: latText(lat, latStep), kind: "parallel" }));
  return [...meridians, ...parallels];
}

function along(at: (part: number) => XY): XY[] {
  return Array.from({ length: pieces + 1 }, (_, i) => at(i / pieces));
}

/** The multiples of a step from one number to another. */
function multiples(from: number, to: number, step: number): number[] {
  const first = Math.ceil(from / step - 1e-9);
  const count = Math.max(Math.floor(to / step + 1e-9) - first + 1, 0);
  return Array.from({ length: count }, (_, i) => (first + i) * step);
}

function lonText(lon: number, step: number): string {
  const turned = ((((lon + 180) % 360) + 360) % 360) - 180;
  return degrees(turned, step, "W", "E");
}

function latText(lat: number, step: number): string {
  return degrees(lat, step, "S", "N");
}

/** With as many digits as the step has. */
function degrees(value: number, step: number, below: string, above: string): string {
  const digits = step >= 1 ? 0 : Math.ceil(-Math.log10(step) - 1e-9);
  const text = Math.abs(value).toFixed(digits);
  const whole = Number(text);
  const side = whole === 0 || (whole === 180 && above === "E") ? "" : ` ${value < 0 ? below : above}`;
  return `${text}°${side}`;
}

/** A length for people that is at most so many pixels long, where a pixel has so many metres. */
export function scaleOf(metresAPixel: number, mostPx: number): { metres: number; px: number } {
  const most = metresAPixel * mostPx;
  const power = 10 ** Math.floor(Math.log10(most));
  const metres = ([5, 2, 1].find((one) => one * power <= most) ?? 1) * power;
  return { metres, px: metres / metresAPixel };
}

/** How many metres a pixel has on the earth, from side to side in the middle of what is shown. */
export function metresAPixel(face: Face, [x, y]: XY, resolution: number): number {
  return distance(unproject(face, [x - resolution / 2, y]), unproject(face, [x + resolution / 2, y]));
}

export function scaleText(metres: number): string {
  return metres < 1000 ? `${Number(metres.toPrecision(1))} m` : `${(metres / 1000).toLocaleString("en")} km`;
}
