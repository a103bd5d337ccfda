import { element } from "../dom.js";
import { cut, labelOf, pictureWords, type LinkLook, type ShownLink } from "./network.js";
import { layOut, type Drawn, type Layout, type Point } from "./networklayout.js";

/** What is to be drawn. */
export interface Picture {
  /** This domain. */
  self: string;
  names: readonly string[];
  links: readonly ShownLink[];
  /** The domains that a traced message goes through. */
  path: readonly string[];
}

const space = "http://www.w3.org/2000/svg";
const sizes = { name: 13, label: 11.5, line: 15, mark: 9 };
/** How many letters of a name are drawn: more would leave no room for the others. */
const letters = { wide: 20, narrow: 13 };

/**
 * The network as a picture. It is drawn anew when something in it has changed, or
 * it has another width. For who does not see it it is one picture with a text.
 */
export class NetworkPicture {
  readonly element = element("div", "network-frame");
  readonly #svg = svg("svg", { class: "network-picture", role: "img" });
  readonly #measure = document.createElement("canvas").getContext("2d");
  #shown: Picture | undefined;
  #drawn = "";

  constructor(signal: AbortSignal) {
    this.element.append(this.#svg);
    const resized = new ResizeObserver(() => this.#draw());
    resized.observe(this.element);
    signal.addEventListener("abort", () => resized.disconnect());
  }

  show(picture: Picture): void {
    this.#shown = picture;
    this.#draw();
  }

  #draw(): void {
    const width = Math.floor(this.element.clientWidth);
    if (this.#shown === undefined || width === 0) return;
    const what = JSON.stringify([width, this.#shown]);
    if (what === this.#drawn) return;
    this.#drawn = what;
    const { self, names, links } = this.#shown;
    const most = width < 480 ? letters.narrow : letters.wide;
    const boxes = names.map((name) => {
      const own = name === self ? this.#width("this domain", sizes.label) : 0;
      return { name, width: Math.ceil(Math.max(this.#width(cut(name, most), sizes.name, 600), own)) + 22, height: name === self ? 44 : 32 };
    });
    const lines = links.map((link) => {
      const words = labelOf(link);
      const marked = link.look === "foreign" ? 0 : sizes.mark + 5;
      const label = { width: Math.ceil(Math.max(...words.map((line, i) => this.#width(line, sizes.label, i === 0 ? 400 : 600) + (i === 0 ? marked : 0)))) + 10, height: words.length * sizes.line + 4 };
      return { from: link.n1, to: link.n2, label, needed: link.look !== "foreign" };
    });
    this.#paint(this.#shown, layOut(self, boxes, lines, width), boxes, lines, most);
  }

  #paint({ self, names, links, path }: Picture, layout: Layout, boxes: readonly { width: number; height: number }[], lines: readonly { label: { width: number; height: number } }[], most: number): void {
    const hops = new Set(path.slice(1).map((name, i) => pair(name, path[i] ?? "")));
    const roads = links.map((link, i) => road(link, layout.lines[i], hops.has(pair(link.n1, link.n2))));
    const labels = links.map((link, i) => label(link, layout.lines[i]?.label, lines[i]?.label));
    const nodes = names.map((name, i) => node(name, layout.boxes.get(name), boxes[i], name === self, path.includes(name), most));
    for (const [name, value] of Object.entries({ viewBox: `0 0 ${layout.width} ${layout.height}`, width: layout.width, height: layout.height })) {
      this.#svg.setAttribute(name, String(value));
    }
    this.#svg.setAttribute("aria-label", pictureWords(self, names.length, links));
    this.#svg.replaceChildren(...roads.flat(), ...labels.flat(), ...nodes.flat());
  }

  #width(text: string, size: number, weight = 400): number {
    if (this.#measure === null) return text.length * size * 0.62;
    this.#measure.font = `${weight} ${size}px ${getComputedStyle(this.element).fontFamily}`;
    return this.#measure.measureText(text).width;
  }
}

/** A line as it looks in the picture, for the legend. */
export function sample(look: LinkLook): SVGElement {
  const made = svg("svg", { class: "network-sample", width: 46, height: 14, "aria-hidden": "true" });
  made.append(svg("path", { class: `road ${look}`, d: "M1 7H45" }));
  if (look !== "foreign") made.append(svg("circle", { class: "mark-ground", cx: 23, cy: 7, r: 7 }), mark(look, { x: 23, y: 7 }));
  return made;
}

function road({ look, n1, n2 }: ShownLink, drawn: Drawn | undefined, traced: boolean): SVGElement[] {
  if (drawn === undefined) return [];
  const { from, to, bend } = drawn;
  const d = bend === undefined ? `M${from.x} ${from.y}L${to.x} ${to.y}` : `M${from.x} ${from.y}Q${bend.x} ${bend.y} ${to.x} ${to.y}`;
  const made = svg("path", { class: `road ${look}`, d });
  made.dataset["link"] = `${n1} ${n2}`;
  return traced ? [svg("path", { class: "traced", d }), made] : [made];
}

function label(link: ShownLink, at: Point | undefined, size: { width: number; height: number } | undefined): SVGElement[] {
  if (at === undefined || size === undefined) return [];
  const left = at.x - size.width / 2;
  const made = svg("g", { class: `road-label ${link.look}` });
  made.append(svg("rect", { x: left, y: at.y - size.height / 2, width: size.width, height: size.height, rx: 4 }));
  const marked = link.look === "foreign" ? 0 : sizes.mark + 5;
  for (const [i, words] of labelOf(link).entries()) {
    const y = at.y - size.height / 2 + 2 + sizes.line * (i + 0.5);
    if (i === 0 && marked > 0) made.append(mark(link.look, { x: left + 5 + sizes.mark / 2, y }));
    const x = i === 0 ? left + 5 + marked : at.x;
    made.append(text(words, { x, y, class: i === 0 ? "" : "waiting", "text-anchor": i === 0 ? "start" : "middle" }));
  }
  return [made];
}

/** A sign that says without colour how a link is. */
function mark(look: LinkLook, { x, y }: Point): SVGElement {
  const r = sizes.mark / 2;
  switch (look) {
    case "up":
      return svg("circle", { class: "mark up", cx: x, cy: y, r });
    case "half":
      return svg("path", { class: "mark half", d: `M${x - r} ${y - r}L${x + r} ${y}L${x - r} ${y + r}Z` });
    case "held":
      return svg("path", { class: "mark held", d: `M${x - 2.5} ${y - r}V${y + r}M${x + 2.5} ${y - r}V${y + r}` });
    default:
      return svg("path", { class: "mark down", d: `M${x - 4} ${y - 4}L${x + 4} ${y + 4}M${x + 4} ${y - 4}L${x - 4} ${y + 4}` });
  }
}

function node(name: string, at: Point | undefined, size: { width: number; height: number } | undefined, own: boolean, traced: boolean, most: number): SVGElement[] {
  if (at === undefined || size === undefined) return [];
  const made = svg("g", { class: `node${own ? " own" : ""}${traced ? " on-path" : ""}` });
  made.dataset["domain"] = name;
  made.append(svg("rect", { x: at.x - size.width / 2, y: at.y - size.height / 2, width: size.width, height: size.height, rx: 8 }));
  made.append(text(cut(name, most), { x: at.x, y: own ? at.y - 7 : at.y, class: "name", "text-anchor": "middle" }));
  if (own) made.append(text("this domain", { x: at.x, y: at.y + 10, class: "own-words", "text-anchor": "middle" }));
  const title = svg("title");
  title.textContent = own ? `${name}, this domain` : name;
  made.append(title);
  return [made];
}

function pair(one: string, other: string): string {
  return one < other ? `${one} ${other}` : `${other} ${one}`;
}

function text(words: string, more: Record<string, string | number>): SVGElement {
  const made = svg("text", { "dominant-baseline": "central", ...more });
  made.textContent = words;
  return made;
}

function svg(tag: string, more: Record<string, string | number> = {}): SVGElement {
  const made = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(more)) made.setAttribute(name, String(value));
  return made;
}

