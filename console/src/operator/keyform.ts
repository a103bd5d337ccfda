import { button, element, setText } from "../dom.js";
import { Problem, sentence } from "../api.js";
import type { MadeKey } from "./answers.js";
import { copy } from "../clipboard.js";
import { showDialog } from "../dialog.js";
import { card, may, type Desk } from "./page.js";
import { scopes } from "./scopes.js";

const lifetimes = [
  ["", "never"],
  ["1", "in a day"],
  ["7", "in a week"],
  ["30", "in 30 days"],
  ["90", "in 90 days"],
  ["365", "in a year"],
  ["at", "at a time …"],
] as const;

/** The form that makes a key, and shows its secret once. */
export class KeyForm {
  readonly element: HTMLElement;
  /** The button that opens and closes it. */
  readonly opener: HTMLButtonElement;
  readonly #desk: Desk;
  readonly #made: () => void;
  readonly #form = element("form", "key-form");
  readonly #name = element("input");
  readonly #kind = element("select");
  readonly #lifetime = element("select");
  readonly #until = element("input");
  readonly #untilField: HTMLElement;
  readonly #scopes = element("fieldset", "scopes");
  readonly #problem = element("p", "form-problem");
  readonly #submit = element("button", "primary", "Make key");

  constructor(desk: Desk, made: () => void) {
    this.#desk = desk;
    this.#made = made;
    this.#untilField = field("Expires at", this.#until);
    this.#fill();
    this.element = card("New key", this.#form);
    this.element.id = "new-key";
    this.element.hidden = true;
    this.opener = button("New key", "primary", () => this.#toggle(this.opener.getAttribute("aria-expanded") === "false"));
    this.opener.setAttribute("aria-expanded", "false");
    this.opener.setAttribute("aria-controls", this.element.id);
    this.#follow();
  }

  #fill(): void {
    const { own } = this.#desk;
    this.#name.maxLength = 100;
    this.#name.placeholder = "what it is for";
    if (own.admin) this.#kind.append(new Option("All apps (admin key)", ""));
    for (const app of own.apps) this.#kind.append(new Option(`App ${app}`, app));
    this.#kind.value = own.apps.includes(this.#desk.app) ? this.#desk.app : (own.apps[0] ?? "");
    for (const [value, words] of lifetimes) {
      if (value === "" && own.expiresAt !== undefined) continue; // no key outlives the one that makes it
      this.#lifetime.append(new Option(words, value));
    }
    this.#until.type = "datetime-local";
    this.#scopes.append(element("legend", "", "Scopes"));
    for (const [scope, what] of scopes) this.#scopes.append(scopeBox(scope, what, may(own, scope)));
    this.#problem.role = "status";
    this.#submit.type = "submit";
    this.#form.autocomplete = "off";
    this.#form.append(
      element(
        "div",
        "key-fields",
        field("Name", this.#name),
        field("For", this.#kind),
        element("div", "key-life", field("Expires", this.#lifetime), this.#untilField),
      ),
      this.#scopes,
      this.#problem,
      element("div", "form-actions", button("Cancel", "", () => this.#toggle(false)), this.#submit),
    );
    this.#form.addEventListener("input", () => this.#follow());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#send();
    });
  }

  #toggle(open: boolean): void {
    this.element.hidden = !open;
    this.opener.setAttribute("aria-expanded", String(open));
    if (open) this.#name.focus();
    else this.opener.focus();
  }

  /** Brings what depends on other fields up to date. */
  #follow(): void {
    const admin = this.#kind.value === "";
    this.#scopes.disabled = admin;
    this.#scopes.classList.toggle("all", admin);
    this.#untilField.hidden = this.#lifetime.value !== "at";
    this.#until.required = this.#lifetime.value === "at";
    setText(this.#problem, "");
  }

  async #send(): Promise<void> {
    const admin = this.#kind.value === "";
    const chosen = [...this.#scopes.querySelectorAll<HTMLInputElement>("input:checked")].map(({ value }) => value);
    if (!admin && chosen.length === 0) {
      setText(this.#problem, "Choose at least one scope.");
      this.#scopes.querySelector("input")?.focus();
      return;
    }
    this.#submit.disabled = true;
    try {
      const made = await this.#desk.api.post<MadeKey>("/keys", {
        body: {
          ...(this.#name.value.trim() === "" ? {} : { name: this.#name.value.trim() }),
          ...(admin ? { admin: true } : { app: this.#kind.value, scopes: chosen }),
          ...this.#expiry(),
        },
        signal: this.#desk.signal,
      });
      this.#form.reset();
      this.#kind.value = admin ? "" : (made.app ?? "");
      this.#follow();
      this.#toggle(false);
      showSecret(made);
      this.#made();
    } catch (error) {
      if (this.#desk.signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      setText(this.#problem, sentence(error));
    } finally {
      this.#submit.disabled = false;
    }
  }

  #expiry(): { expiresAt?: string } {
    const life = this.#lifetime.value;
    if (life === "") return {};
    const at = life === "at" ? new Date(this.#until.value).getTime() : Date.now() + Number(life) * 86_400_000;
    return { expiresAt: new Date(at).toISOString() };
  }
}

function field(name: string, control: HTMLElement): HTMLElement {
  return element("label", "field", name, control);
}

function scopeBox(scope: string, what: string, have: boolean): HTMLElement {
  const box = element("input");
  box.type = "checkbox";
  box.value = scope;
  box.disabled = !have;
  const words = have ? what : "the key that you are signed in with lacks it";
  return element("label", have ? "check" : "check missing", box, element("span", "", element("code", "", scope), element("small", "", words)));
}

/** The one time that a key's secret is seen. */
function showSecret(made: MadeKey): void {
  const secret = element("code", "secret", made.key);
  const copied = element("p", "copied");
  copied.role = "status";
  const copyButton = button("Copy", "primary", () => {
    void copy(made.key, secret).then((done) => setText(copied, done ? "Copied." : "It is selected: copy it with Ctrl + C."));
  });
  const close = button("I have kept it", "", () => dialog.close());
  const example = element("pre", "example", `curl -H "Authorization: Bearer ${made.key}" \\\n  ${location.origin}/v1/whoami`);
  const dialog = showDialog(
    "The new key",
    element("p", "", "This is the only time that you see it: the server keeps only its hash. Keep it where secrets are kept."),
    secret,
    copied,
    element("details", "", element("summary", "", "Try it"), example),
    element("div", "dialog-actions", close, copyButton),
  );
  // It is not shown again, so a stray key press or click must not lose it.
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  copyButton.focus();
}
