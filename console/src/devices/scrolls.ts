/** Makes an element one that scrolls by itself, and can be reached with the keyboard for that. */
export function scrolls(element: HTMLElement, name: string): void {
  element.classList.add("scrolls");
  element.tabIndex = 0;
  element.role = "group";
  element.ariaLabel = name;
}
