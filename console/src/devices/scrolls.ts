/** Makes an element one that scrolls by itself, and can be reached with the keyboard for that. */
export function scrolls(element: HTMLElement, name: string): void {
  element.classList.add("scrolls");
  element.tabIndex = 0;
  element.role = "group";
  element.ariaLabel = name;
}

/** Says how many rows there are, and whether some of them come into sight by scrolling. */
export function rowsNote(frame: HTMLElement, rows: string): string {
  return frame.scrollHeight > frame.clientHeight + 1 ? `${rows}: scroll in the list to see them all.` : `${rows}.`;
}
