import { button, element } from "./dom.js";

/** Says what came of something, over the page, until the next thing is said. */
export function say(where: HTMLElement, text: string): void {
  const close = button("×", "said-close", () => where.replaceChildren());
  close.ariaLabel = "Hide this";
  where.replaceChildren(element("p", "", text), close);
}
