import { newReference, SwitchboardError, type Outgoing, type StateChange } from "@switchboard/client";
import { byId, chosen, control } from "./dom.js";
import { jsonProblem, userList } from "./json.js";
import { capital, withStop } from "./words.js";

/** A message as the form has it: its content always as JSON text. */
export type Draft = Outgoing & { contentText: string };

/** The form that messages are written in. */
export class Composer {
  readonly form = byId("composer", HTMLFormElement);
  readonly #content = control(this.form, "content", HTMLTextAreaElement);
  readonly #reference = control(this.form, "reference", HTMLInputElement);
  readonly #to = control(this.form, "to", HTMLInputElement);
  readonly #send = byId("send", HTMLButtonElement);
  readonly #note = byId("send-note", HTMLElement);
  readonly #sendDraft: (draft: Draft) => void;
  #line: "out" | "online" | "paused" = "out";
  /** The reference that was filled in last; another one is the writer's own, and stays. */
  #filledIn = "";

  /** `send` may throw a SwitchboardError, which is then shown. */
  constructor(send: (draft: Draft) => void) {
    this.#sendDraft = send;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.form.addEventListener("input", () => this.refresh());
    this.#content.addEventListener("keydown", (event) => this.#key(event));
    this.#nextReference();
    this.refresh();
  }

  /** Says whether there is somebody to send it. */
  set state(state: StateChange["state"]) {
    if (state === "online") this.#line = "online";
    else if (state === "idle" || state === "closed") this.#line = "out";
    else if (state === "waiting" || this.#line === "online") this.#line = "paused";
    this.refresh();
  }

  set to(user: string) {
    this.#to.value = user;
  }

  /** Brings what depends on other fields up to date. */
  refresh(): void {
    const group = chosen(this.form, "kind") === "group";
    const fast = chosen(this.form, "feature") === "FAST";
    const json = this.#json;
    this.#to.placeholder = group ? "ANZ-1, ANZ-2, ANZ-3" : "ANZ-123224";
    this.#content.placeholder = json ? '{"temperature": 21.5}' : "Write a message";
    this.#content.classList.toggle("mono", json);
    this.#content.spellcheck = !json;
    control(this.form, "confirmation", HTMLInputElement).disabled = group;
    control(this.form, "ttl", HTMLInputElement).disabled = fast;

    const problem = json && this.#content.value !== "" ? jsonProblem(this.#content.value) : undefined;
    this.#content.ariaInvalid = problem === undefined ? null : "true";
    this.#say(problem ?? this.#hint(), problem !== undefined);
    this.#send.disabled = this.#line !== "online" || problem !== undefined;
  }

  get #json(): boolean {
    return chosen(this.form, "format") === "json";
  }

  #hint(): string {
    if (this.#line === "out") return "Sign in to send.";
    if (this.#line === "paused") return "Reconnecting: sending is paused.";
    return this.#json ? "Ctrl + Enter sends." : "Enter sends, Shift + Enter makes a new line.";
  }

  #say(text: string, wrong: boolean): void {
    if (this.#note.textContent !== text) this.#note.textContent = text;
    this.#note.classList.toggle("wrong", wrong);
  }

  #key(event: KeyboardEvent): void {
    if (event.key !== "Enter" || event.isComposing || event.shiftKey) return;
    if (this.#json && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    if (!this.#send.disabled) this.form.requestSubmit();
  }

  #submit(): void {
    if (this.#send.disabled) return;
    try {
      this.#sendDraft(this.#draft());
    } catch (error) {
      if (!(error instanceof SwitchboardError)) throw error;
      this.#say(capital(withStop(error.message)), true);
      return;
    }
    this.#content.value = "";
    if (this.#reference.value === this.#filledIn) this.#nextReference();
    this.refresh();
    this.#content.focus();
    this.form.dispatchEvent(new Event("input")); // what is remembered follows
  }

  #draft(): Draft {
    const users = userList(this.#to.value);
    const group = chosen(this.form, "kind") === "group";
    const fast = chosen(this.form, "feature") === "FAST";
    const ttl = control(this.form, "ttl", HTMLInputElement);
    const reference = this.#reference.value;
    return {
      to: group ? users : this.#to.value.trim(),
      contentText: this.#json ? this.#content.value.trim() : JSON.stringify(this.#content.value),
      feature: fast ? "FAST" : "RELIABLE",
      ...(reference === "" ? {} : { reference }),
      ...(group ? {} : { confirmationEnabled: control(this.form, "confirmation", HTMLInputElement).checked }),
      ...(fast || ttl.value === "" ? {} : { ttl: ttl.valueAsNumber }),
    };
  }

  #nextReference(): void {
    this.#filledIn = newReference();
    this.#reference.value = this.#filledIn;
  }
}
