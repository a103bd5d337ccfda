import { Colours } from "../colours.js";
import { element } from "../dom.js";
import { short } from "../format.js";
import { crowded, joined, type Dot, type Spot } from "./crowding.js";
import { copies, worldWidth, type Face, type XY } from "./faces.js";
import { Movers } from "./movers.js";

/** How the plane lies on the screen. */
export interface View {
  face: Face;
  center: XY;
  /** Metres of the plane a pixel. */
  resolution: number;
  size: readonly [width: number, height: number];
}

/** Who is drawn. */
export interface Person {
  id: string;
  name: string;
  at: XY;
}

/** Something that the pointer can be on: in pixels, and who it is. */
export interface Drawn {
  x: number;
  y: number;
  radius: number;
  spot: Spot;
}

interface Label {
  text: string;
  strong: boolean;
  drawn: Drawn;
}

/** In pixels: left, top, right, bottom. */
type Area = readonly [number, number, number, number];

/** How long somebody takes to where he was said to be. Short, or what is seen is old. */
const moveMs = 80;

/** Who is on the way is drawn so often: more costs what is needed to hear where he is next. */
const wayMs = 30;

const userRadius = 6;
const group = { side: 34, least: 3 };
const cells = { side: 64, least: 2 };
/** Names are told as long as there are at most so many to tell apart. */
const mostLabels = 80;
/** How near to something the pointer has to be. */
const reach = 5;

/** Draws people, or counts, on a canvas over the map, and knows who is where on it. */
export class PeopleLayer {
  readonly canvas = element("canvas", "people-canvas");
  readonly #colours: Colours;
  readonly #movers: Movers;
  readonly #changed: () => void;
  #view: View | undefined;
  #people = new Map<string, Person>();
  #counts: Dot[] | undefined;
  #me = "";
  #chosen = "";
  #drawn: Drawn[] = [];
  #frame = 0;
  #timer = 0;

  /** `changed` is called when something else is drawn than before. */
  constructor(changed: () => void) {
    this.#changed = changed;
    this.#movers = new Movers(matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : moveMs);
    this.#colours = new Colours(() => this.#soon(), new AbortController().signal); // for as long as the page is there
    this.canvas.ariaHidden = "true";
  }

  /** What is drawn now. */
  get drawn(): readonly Drawn[] {
    return this.#drawn;
  }

  /** Shows people, and counts in place of those who are too many. */
  show(people: ReadonlyMap<string, Person>, counts: Dot[] | undefined, me: string): void {
    const now = performance.now();
    const width = this.#view?.face === "world" ? worldWidth : 0;
    for (const { id, at } of people.values()) this.#movers.send(id, at, now, width);
    this.#movers.keep(people);
    this.#people = new Map(people);
    this.#counts = counts;
    this.#me = me;
    this.#soon();
  }

  /** The plane is another one: nobody goes there from the old one. */
  jump(): void {
    this.#movers.clear();
  }

  choose(id: string): void {
    this.#chosen = id;
    this.#soon();
  }

  /** The map was drawn: people are, too, in the same frame. */
  draw(view: View): void {
    this.#view = view;
    this.#paint();
  }

  /** What is at a pixel; the nearest of several. */
  at(x: number, y: number): Drawn | undefined {
    let found: Drawn | undefined;
    let nearest = Number.POSITIVE_INFINITY;
    for (const one of this.#drawn) {
      const far = Math.hypot(one.x - x, one.y - y) - one.radius;
      if (far > reach || far >= nearest) continue;
      found = one;
      nearest = far;
    }
    return found;
  }

  #soon(): void {
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  }

  #paint(): void {
    const context = this.canvas.getContext("2d");
    if (this.#view === undefined || context === null) return;
    const now = performance.now();
    this.#clear(context, this.#view.size);
    this.#drawn = this.#spots(this.#view, now).flatMap((spot) => this.#placed(spot, this.#view as View));
    // The own one last, over the others.
    this.#drawn.sort((a, b) => Number(this.#isMine(a)) - Number(this.#isMine(b)));
    for (const one of this.#drawn) this.#dot(context, one);
    this.#label(context, this.#labels());
    this.#changed();
    window.clearTimeout(this.#timer);
    if (this.#movers.moving(now)) this.#timer = window.setTimeout(() => this.#soon(), wayMs);
  }

  #clear(context: CanvasRenderingContext2D, [width, height]: View["size"]): void {
    const ratio = window.devicePixelRatio;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== w) this.canvas.width = w;
    if (this.canvas.height !== h) this.canvas.height = h;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
  }

  #spots({ resolution }: View, now: number): Spot[] {
    const dots: Dot[] = [];
    const alone: Spot[] = [];
    for (const { id } of this.#people.values()) {
      const at = this.#movers.at(id, now);
      if (at === undefined) continue;
      const dot = { x: at[0], y: at[1], count: 1, id };
      if (id === this.#me || id === this.#chosen) alone.push({ ...dot, dots: [dot] });
      else dots.push(dot);
    }
    const counts = this.#counts === undefined ? [] : crowded(this.#counts, cells.side * resolution, cells.least);
    const others = crowded(dots, group.side * resolution, group.least);
    // The own place would hide the number of a group on which it lies: it is drawn as part of it.
    const apart = alone.filter((one) => !joined(others, one, (group.side / 2) * resolution));
    return [...counts, ...others, ...apart];
  }

  /** Where a spot is in pixels: several times where the world comes again beside itself. */
  #placed(spot: Spot, { face, center, resolution, size: [width, height] }: View): Drawn[] {
    const one = spot.dots.length === 1 && spot.dots[0]?.id !== "";
    const radius = one ? userRadius : 11 + 3 * Math.log10(spot.count);
    const y = height / 2 - (spot.y - center[1]) / resolution;
    if (y < -radius || y > height + radius) return [];
    const margin = (width / 2 + radius) * resolution;
    return copies(face, spot.x, center[0] - margin, center[0] + margin).map((shift) => ({ x: width / 2 + (spot.x + shift - center[0]) / resolution, y, radius, spot }));
  }

  #isMine({ spot }: Drawn): boolean {
    return this.#me !== "" && spot.dots.some(({ id }) => id === this.#me);
  }

  #isChosen({ spot }: Drawn): boolean {
    return this.#chosen !== "" && spot.dots.some(({ id }) => id === this.#chosen);
  }

  #dot(context: CanvasRenderingContext2D, one: Drawn): void {
    const { x, y, radius, spot } = one;
    const [only] = spot.dots;
    const user = spot.dots.length === 1 && only?.id !== "";
    const mine = this.#isMine(one);
    if (mine) disc(context, x, y, radius + 6, this.#colours.of("--me-soft"));
    if (this.#isChosen(one)) ring(context, x, y, radius + 5, this.#colours.of("--chosen-ring"));
    disc(context, x, y, radius, this.#colours.of(!user ? "--group" : mine ? "--me" : "--person"));
    ring(context, x, y, radius, this.#colours.of(mine && !user ? "--me" : "--dot-edge"));
    if (user) return;
    context.font = "600 11px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = this.#colours.of("--on-group");
    context.fillText(short(spot.count), x, y + 0.5);
  }

  #labels(): Label[] {
    const labels: Label[] = [];
    for (const drawn of this.#drawn) {
      const [only] = drawn.spot.dots;
      if (this.#isMine(drawn)) labels.push({ text: "You", strong: true, drawn });
      else if (this.#isChosen(drawn)) labels.push({ text: this.#people.get(this.#chosen)?.name ?? "", strong: true, drawn });
      else if (drawn.spot.dots.length === 1) labels.push({ text: this.#people.get(only?.id ?? "")?.name ?? "", strong: false, drawn });
    }
    const few = labels.filter(({ strong }) => !strong).length <= mostLabels;
    return labels.filter(({ strong }) => strong || few).sort((a, b) => rank(b) - rank(a));
  }

  /** Writes names beside their dots, as far as they do not lie on each other, nor on dots. */
  #label(context: CanvasRenderingContext2D, labels: readonly Label[]): void {
    const taken: Area[] = this.#drawn.map(({ x, y, radius }) => [x - radius, y - radius, x + radius, y + radius]);
    const strongest: Area[] = [];
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    for (const { text, strong, drawn } of labels) {
      context.font = `${strong ? "650" : "500"} 12px system-ui, sans-serif`;
      const shown = text.length > 24 ? `${text.slice(0, 23)}…` : text;
      const left = drawn.x + drawn.radius + 5;
      const box: Area = [left, drawn.y - 8, left + context.measureText(shown).width, drawn.y + 8];
      if ((strong ? strongest : taken).some((other) => overlap(box, other))) continue;
      taken.push(box);
      if (strong) strongest.push(box);
      context.lineWidth = 3;
      context.strokeStyle = this.#colours.of("--halo");
      context.strokeText(shown, left, drawn.y);
      context.fillStyle = this.#colours.of("--label");
      context.fillText(shown, left, drawn.y);
    }
  }
}

/** Who is named first: the user, who was chosen, the others. */
function rank({ text, strong }: Label): number {
  return strong ? (text === "You" ? 2 : 1) : 0;
}

function overlap(a: Area, b: Area): boolean {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}

function disc(context: CanvasRenderingContext2D, x: number, y: number, radius: number, colour: string): void {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = colour;
  context.fill();
}

function ring(context: CanvasRenderingContext2D, x: number, y: number, radius: number, colour: string): void {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.lineWidth = 2;
  context.strokeStyle = colour;
  context.stroke();
}
