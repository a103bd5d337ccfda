import { byId, clockTime, element } from "./dom.js";
import { framePreview, frameType } from "./frametext.js";
import { prettyJson } from "./json.js";
import { ScrollList } from "./scrolllist.js";

/** How many frames are kept. */
const limit = 500;

export interface Frame {
  direction: "in" | "out";
  text: string;
  at: number;
}

interface Row {
  frame: Frame;
  /** What the filter looks at. */
  searched: string;
  item: HTMLElement;
}

/** The pane where all frames go by. */
export class FramesPane {
  readonly #list: ScrollList;
  readonly #count = byId("frames-count", HTMLElement);
  readonly #pause = byId("frames-pause", HTMLButtonElement);
  readonly #filter = byId("frames-filter", HTMLInputElement);
  readonly #direction = byId("frames-direction", HTMLSelectElement);
  #rows: Row[] = [];
  #held: Frame[] = [];
  #total = 0;

  constructor() {
    this.#list = new ScrollList(
      {
        scroller: byId("frames-scroller", HTMLElement),
        list: byId("frames-list", HTMLElement),
        empty: byId("frames-empty", HTMLElement),
        latest: byId("frames-latest", HTMLElement),
      },
      limit,
    );
    this.#pause.addEventListener("click", () => this.#togglePause());
    byId("frames-clear", HTMLButtonElement).addEventListener("click", () => this.#clear());
    this.#filter.addEventListener("input", () => this.#refilter());
    this.#direction.addEventListener("change", () => this.#refilter());
  }

  add(frame: Frame): void {
    this.#total++;
    if (this.#paused) {
      this.#held.push(frame);
      if (this.#held.length > limit) this.#held.shift();
    } else {
      this.#show(frame);
    }
    this.#recount();
  }

  get #paused(): boolean {
    return this.#pause.getAttribute("aria-pressed") === "true";
  }

  #show(frame: Frame): void {
    const row: Row = { frame, searched: frame.text.toLowerCase(), item: frameItem(frame) };
    row.item.hidden = !this.#matches(row);
    this.#rows.push(row);
    if (this.#rows.length > limit) this.#rows.shift();
    this.#list.add(row.item);
  }

  #togglePause(): void {
    const paused = !this.#paused;
    this.#pause.setAttribute("aria-pressed", String(paused));
    if (!paused) {
      for (const frame of this.#held) this.#show(frame);
      this.#held = [];
    }
    this.#recount();
  }

  #clear(): void {
    this.#rows = [];
    this.#held = [];
    this.#total = 0;
    this.#list.clear();
    this.#recount();
  }

  #refilter(): void {
    for (const row of this.#rows) row.item.hidden = !this.#matches(row);
    this.#recount();
  }

  #matches({ frame, searched }: Row): boolean {
    const direction = this.#direction.value;
    return (direction === "both" || direction === frame.direction) && searched.includes(this.#filter.value.toLowerCase());
  }

  #recount(): void {
    const shown = this.#rows.filter((row) => !row.item.hidden).length;
    const parts = [shown === this.#total ? String(shown) : `${shown} of ${this.#total}`];
    if (this.#held.length > 0) parts.push(`${this.#held.length} held`);
    this.#count.textContent = parts.join(", ");
  }
}

function frameItem({ direction, text, at }: Frame): HTMLElement {
  const arrow = element("span", "arrow", direction === "in" ? "↓" : "↑");
  arrow.ariaHidden = "true";
  const type = frameType(text);
  const summary = element(
    "summary",
    "",
    element("time", "", clockTime(at)),
    arrow,
    element("span", "visually-hidden", direction === "in" ? "in" : "out"),
    element("span", "type", type),
    element("span", "preview", framePreview(text, type)),
  );
  const details = element("details", `frame ${direction}`, summary);
  // Laid out only when somebody looks.
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(element("pre", "", prettyJson(text)));
  });
  return element("li", "", details);
}
