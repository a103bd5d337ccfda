import { Colours } from "../colours.js";
import { element } from "../dom.js";
import type { Extent, Face, XY } from "./faces.js";
import { gridIn, type GridLine } from "./grid.js";

/** What is shown of the plane, and how near. */
export interface GridView {
  face: Face;
  extent: Extent;
  resolution: number;
  size: readonly [number, number];
}

/** Where degrees may be written: not behind what lies on the map, in pixels from its sides. */
const clear = { top: 56, bottom: 8, side: 6 };

const height = 14;

/** Draws meridians and parallels on a canvas between the land and the people, and writes their degrees. */
export class GridLayer {
  readonly canvas = element("canvas", "grid-canvas");
  readonly #colours: Colours;
  #view: GridView | undefined;

  constructor() {
    this.canvas.ariaHidden = "true";
    this.#colours = new Colours(() => this.draw(this.#view), new AbortController().signal); // for as long as the page is there
  }

  /** Draws what is to be seen; undefined: nothing. */
  draw(view: GridView | undefined): void {
    this.#view = view;
    const context = this.canvas.getContext("2d");
    if (context === null) return;
    const ratio = window.devicePixelRatio;
    const [width, high] = view?.size ?? [0, 0];
    this.canvas.width = Math.round(width * ratio); // and clears it
    this.canvas.height = Math.round(high * ratio);
    if (view === undefined) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const lines = gridIn(view.face, view.extent, view.resolution);
    const [left, , , top] = view.extent;
    const pixels = lines.map(({ points }) => points.map(([x, y]): XY => [(x - left) / view.resolution, (top - y) / view.resolution]));
    context.strokeStyle = this.#colours.of("--graticule");
    context.lineWidth = 1;
    for (const points of pixels) stroke(context, points);
    this.#label(context, view.size, lines, pixels);
  }

  #label(context: CanvasRenderingContext2D, size: GridView["size"], lines: readonly GridLine[], pixels: readonly XY[][]): void {
    const taken: XY[] = [];
    context.font = "10.5px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 3;
    context.strokeStyle = this.#colours.of("--halo");
    context.fillStyle = this.#colours.of("--muted");
    for (const [i, { label, kind }] of lines.entries()) {
      const half = context.measureText(label).width / 2;
      const at = placeOf(pixels[i] ?? [], kind, half, size);
      if (at === undefined || taken.some(([x, y]) => Math.abs(x - at[0]) < 2 * half + 8 && Math.abs(y - at[1]) < height)) continue;
      taken.push(at);
      context.textAlign = "center";
      context.strokeText(label, at[0], at[1]);
      context.fillText(label, at[0], at[1]);
    }
  }
}

function stroke(context: CanvasRenderingContext2D, points: readonly XY[]): void {
  context.beginPath();
  for (const [i, [x, y]] of points.entries()) {
    if (i === 0) context.moveTo(x, y);
    else context.lineTo(x, y);
  }
  context.stroke();
}

/** Where on its line a label stands: a parallel's as far left as it is whole, a meridian's where it begins, far from the pole. */
function placeOf(points: readonly XY[], kind: GridLine["kind"], half: number, [width, high]: GridView["size"]): XY | undefined {
  const [left, right] = [clear.side + half, width - clear.side - half];
  const [top, bottom] = [clear.top + height / 2, high - clear.bottom - height / 2];
  let best: XY | undefined;
  for (const [i, end] of points.entries()) {
    const start = points[i - 1];
    const part = start === undefined ? undefined : within(start, end, [left, top, right, bottom]);
    for (const at of part ?? []) if (best === undefined || (kind === "parallel" && at[0] < best[0])) best = at;
  }
  return best;
}

/** What of a piece of a line lies in a rectangle: both its ends. */
function within(start: XY, end: XY, [left, top, right, bottom]: readonly [number, number, number, number]): [XY, XY] | undefined {
  const [dx, dy] = [end[0] - start[0], end[1] - start[1]];
  let [from, to] = [0, 1];
  for (const [step, low, high] of [[dx, left - start[0], right - start[0]], [dy, top - start[1], bottom - start[1]]] as const) {
    if (step === 0 && (low > 0 || high < 0)) return undefined;
    if (step === 0) continue;
    from = Math.max(from, Math.min(low / step, high / step));
    to = Math.min(to, Math.max(low / step, high / step));
  }
  const at = (part: number): XY => [start[0] + part * dx, start[1] + part * dy];
  return from > to ? undefined : [at(from), at(to)];
}
