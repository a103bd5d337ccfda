const key = "switchboard.console";

/**
 * Remembers what was typed for this tab, so that a reload loses nothing and two
 * tabs can be two users. The token is remembered as well: it leaves with the
 * tab.
 */
export class Memory {
  readonly #forms: readonly HTMLFormElement[];

  /** Fills the forms with what is remembered and follows their changes. Names must differ between forms. */
  constructor(forms: readonly HTMLFormElement[]) {
    this.#forms = forms;
    const values = read();
    for (const field of this.#fields()) {
      const value = values[field.name];
      if (value === undefined) continue;
      if (isToggle(field)) field.checked = field.type === "radio" ? field.value === value : value === "on";
      else field.value = value;
    }
    for (const form of forms) form.addEventListener("input", () => this.save());
  }

  /** Call after fields were changed by the program. */
  save(): void {
    const values: Record<string, string> = {};
    for (const field of this.#fields()) {
      if (!isToggle(field)) values[field.name] = field.value;
      else if (field.type === "checkbox") values[field.name] = field.checked ? "on" : "off";
      else if (field.checked) values[field.name] = field.value;
    }
    try {
      sessionStorage.setItem(key, JSON.stringify(values));
    } catch {
      // Storage may be forbidden or full; then nothing is remembered.
    }
  }

  *#fields(): Iterable<HTMLInputElement | HTMLTextAreaElement> {
    for (const form of this.#forms) {
      for (const field of form.elements) {
        const typed = field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement;
        if (typed && field.name !== "") yield field;
      }
    }
  }
}

function isToggle(field: HTMLInputElement | HTMLTextAreaElement): field is HTMLInputElement {
  return field.type === "checkbox" || field.type === "radio";
}

function read(): Record<string, string | undefined> {
  try {
    const values: unknown = JSON.parse(sessionStorage.getItem(key) ?? "{}");
    return typeof values === "object" && values !== null ? (values as Record<string, string>) : {};
  } catch {
    return {};
  }
}
