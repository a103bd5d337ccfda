/** Colours of the style sheet as the canvas takes them, light or dark as the page is. */
export class Colours {
  readonly #probe = document.createElement("span");
  #known = new Map<string, string>();

  /** `changed` is called when the page turns light or dark. */
  constructor(changed: () => void, signal: AbortSignal) {
    this.#probe.hidden = true;
    document.body.append(this.#probe);
    signal.addEventListener("abort", () => this.#probe.remove());
    matchMedia("(prefers-color-scheme: dark)").addEventListener(
      "change",
      () => {
        this.#known.clear();
        changed();
      },
      { signal },
    );
  }

  /** The value of a custom property that is a colour. */
  of(name: string): string {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    this.#probe.style.color = `var(${name})`;
    const colour = getComputedStyle(this.#probe).color;
    this.#known.set(name, colour);
    return colour;
  }
}
