import { button, element } from "../dom.js";

export interface MenuItem {
  text: string;
  act(): void;
  danger?: boolean;
}

/** Shows a menu at a button: arrow keys walk it, Escape and a click elsewhere close it. */
export function showMenu(anchor: HTMLElement, items: readonly MenuItem[]): void {
  const menu = element("div", "menu");
  menu.role = "menu";
  menu.popover = "auto";
  for (const choice of items) {
    const item = button(choice.text, choice.danger === true ? "menu-item bad" : "menu-item", () => {
      menu.hidePopover();
      choice.act();
    });
    item.role = "menuitem";
    item.tabIndex = -1;
    menu.append(item);
  }
  menu.addEventListener("keydown", (event) => walk(menu, event));
  menu.addEventListener("toggle", (event) => {
    if (event.newState === "open") return;
    anchor.removeAttribute("aria-expanded");
    // Not from what the chosen item has opened.
    if (menu.contains(document.activeElement) || document.activeElement === document.body) anchor.focus();
    menu.remove();
  });
  document.body.append(menu);
  menu.showPopover();
  anchor.setAttribute("aria-expanded", "true");
  place(menu, anchor);
  menu.querySelector("button")?.focus();
}

function walk(menu: HTMLElement, event: KeyboardEvent): void {
  const all = [...menu.querySelectorAll("button")];
  const at = all.findIndex((one) => one === document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
  if (event.key === "Tab") menu.hidePopover();
  if (to === undefined) return;
  event.preventDefault();
  all.at(to % all.length)?.focus();
}

/** Below the button, or above it where there is no room; always within the window. */
function place(menu: HTMLElement, anchor: HTMLElement): void {
  const at = anchor.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const below = at.bottom + 4 + height <= innerHeight;
  menu.style.top = `${Math.max(below ? at.bottom + 4 : at.top - 4 - height, 4)}px`;
  menu.style.left = `${Math.min(Math.max(at.right - width, 4), innerWidth - width - 4)}px`;
}
