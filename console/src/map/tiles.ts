import TileLayer from "ol/layer/Tile.js";
import XYZ from "ol/source/XYZ.js";

/** So many tiles that do not come, one after the other, are more than a hole in a map. */
const mostMissing = 3;

/** Those that did not come are asked for again after so long. */
const againMs = 30_000;

/** The operator's tiles, and whether they come. */
export class Tiles {
  readonly layer: TileLayer;
  readonly #changed: () => void;
  #missing = 0;
  #timer = 0;

  constructor(url: string, changed: () => void) {
    this.#changed = changed;
    const source = new XYZ({ url });
    this.layer = new TileLayer({ source });
    source.on("tileloadend", () => this.#count(0));
    source.on("tileloaderror", () => {
      this.#count(this.#missing + 1);
      window.clearTimeout(this.#timer);
      this.#timer = window.setTimeout(() => source.refresh(), againMs);
    });
  }

  /** Whether the outlines have to do. */
  get failing(): boolean {
    return this.#missing >= mostMissing;
  }

  #count(missing: number): void {
    const before = this.failing;
    this.#missing = missing;
    if (missing === 0) window.clearTimeout(this.#timer);
    if (this.failing !== before) this.#changed();
  }
}
