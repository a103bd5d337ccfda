import { element } from "../dom.js";

/** How many grounds there are (chat.css). */
const hues = 8;

/**
 * A letter on a coloured ground, the same for the same ID. Pictures from
 * addresses that others chose are not fetched: whoever has set one would see who
 * looks at it, and from where.
 */
export function avatar(name: string, id: string): HTMLElement {
  const mark = element("span", "avatar", Array.from(name.trim())[0]?.toUpperCase() ?? "?");
  mark.ariaHidden = "true";
  mark.dataset["hue"] = String(hueOf(id));
  return mark;
}

function hueOf(id: string): number {
  let sum = 0;
  for (const letter of id) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) % 65_521;
  return sum % hues;
}
