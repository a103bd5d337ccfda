// Everything that is shown goes through here, as text. Nothing in the console
// turns text into markup, and the content security policy (console.go) would
// not let it: it requires Trusted Types and allows no policy.

/** The element with this id; its absence is a fault in index.html. */
export function byId<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html has no ${kind.name} #${id}`);
  return found;
}

/** The control of a form with this name. */
export function control<T extends Element | RadioNodeList>(form: HTMLFormElement, name: string, kind: new () => T): T {
  const found = form.elements.namedItem(name);
  if (!(found instanceof kind)) throw new Error(`#${form.id} has no ${kind.name} ${name}`);
  return found;
}

/** Which of a group of radio buttons is chosen. */
export function chosen(form: HTMLFormElement, name: string): string {
  return control(form, name, RadioNodeList).value;
}

/** Makes an element with a class; texts become text nodes. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = "",
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (className !== "") made.className = className;
  made.append(...children);
  return made;
}

/** A button that does something other than to send a form. */
export function button(text: string, className: string, act: () => void): HTMLButtonElement {
  const made = element("button", className, text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

/** Sets a text; when it is the same nothing is touched. */
export function setText(where: HTMLElement, text: string): void {
  if (where.textContent !== text) where.textContent = text;
}

/** A time of day with milliseconds, in the reader's own zone. */
export function clockTime(at: number): string {
  const date = new Date(at);
  const two = (n: number): string => String(n).padStart(2, "0");
  const ms = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${ms}`;
}
