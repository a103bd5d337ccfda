/**
 * A bounded list in a scrolling box. It follows its end while the reader is
 * there, stays where the reader has scrolled to otherwise, and then offers a way
 * to the latest. Many items at once are added in one go.
 */
export class ScrollList {
  readonly #scroller: HTMLElement;
  readonly #list: HTMLElement;
  readonly #empty: HTMLElement;
  readonly #latest: HTMLElement;
  readonly #limit: number;
  #waiting: HTMLElement[] = [];
  #planned = false;
  #follows = true;
  /** The box's size when it was last looked at. */
  #size = "";

  constructor(parts: { scroller: HTMLElement; list: HTMLElement; empty: HTMLElement; latest: HTMLElement }, limit: number) {
    this.#scroller = parts.scroller;
    this.#list = parts.list;
    this.#empty = parts.empty;
    this.#latest = parts.latest;
    this.#limit = limit;
    this.#scroller.addEventListener("scroll", () => this.#scrolled());
    this.#latest.addEventListener("click", () => {
      this.toEnd();
      this.#scroller.focus();
    });
    // Hidden tabs draw nothing, so what waits for the next drawing is bounded here.
    document.addEventListener("visibilitychange", () => this.#flush());
    new ResizeObserver(() => {
      this.#size = this.#measure();
      if (this.#follows) this.toEnd();
    }).observe(this.#scroller);
  }

  add(item: HTMLElement): void {
    this.#waiting.push(item);
    if (this.#waiting.length > this.#limit) this.#waiting.shift();
    if (document.hidden) {
      this.#flush();
    } else if (!this.#planned) {
      this.#planned = true;
      requestAnimationFrame(() => this.#flush());
    }
  }

  clear(): void {
    this.#waiting = [];
    this.#list.replaceChildren();
    this.#empty.hidden = false;
    this.#follows = true;
    this.#latest.hidden = true;
  }

  toEnd(): void {
    this.#follows = true;
    this.#latest.hidden = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #flush(): void {
    this.#planned = false;
    if (this.#waiting.length === 0) return;
    this.#empty.hidden = true;
    this.#list.append(...this.#waiting);
    this.#waiting = [];
    while (this.#list.childElementCount > this.#limit) this.#list.firstElementChild?.remove();
    if (this.#follows) this.toEnd();
    else this.#latest.hidden = false;
  }

  #measure(): string {
    return `${this.#scroller.clientWidth} ${this.#scroller.clientHeight}`;
  }

  #scrolled(): void {
    if (this.#measure() !== this.#size) return; // the box changed, not the reader's mind
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#follows = scrollHeight - scrollTop - clientHeight < 24;
    if (this.#follows) this.#latest.hidden = true;
  }
}
