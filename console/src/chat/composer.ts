import { byId, setText } from "../dom.js";
import type { Message } from "./answers.js";
import { contentWords, rewritten } from "./wording.js";

/** How much one message may hold, in bytes, unless the server is set otherwise. */
const contentLimit = 16 * 1024;
/** From so many bytes before the limit on the reader is told. */
const nearLimit = 1024;

export interface ComposerEvents {
  send(text: string): void;
  edit(message: Message, text: string): Promise<boolean>;
  /** A message is being edited from now on, or none any more. */
  editing(message: Message | undefined): void;
  typing(): void;
  /** Wants to edit the last own message. */
  editLast(): void;
}

/** The field in which messages are written, and edited. */
export class Composer {
  readonly #form = byId("composer", HTMLFormElement);
  readonly #text = byId("text", HTMLTextAreaElement);
  readonly #send = byId("send", HTMLButtonElement);
  readonly #note = byId("composer-note", HTMLElement);
  readonly #editing = byId("editing", HTMLElement);
  readonly #events: ComposerEvents;
  #edited: Message | undefined;
  /** What was being written when an edit began. */
  #kept = "";
  #refused = "";

  constructor(events: ComposerEvents, signal: AbortSignal) {
    this.#events = events;
    this.#form.addEventListener("submit", (event) => this.#submit(event), { signal });
    this.#text.addEventListener("keydown", (event) => this.#key(event), { signal });
    this.#text.addEventListener("input", () => this.#input(), { signal });
    byId("edit-cancel", HTMLButtonElement).addEventListener("click", () => this.stopEditing(), { signal });
    this.#refresh();
  }

  /** What is written and not sent; an edit that is not finished is not kept. */
  get draft(): string {
    return this.#edited === undefined ? this.#text.value : this.#kept;
  }

  set draft(text: string) {
    const wasEditing = this.#edited !== undefined;
    this.#edited = undefined;
    this.#text.value = text;
    this.#refresh();
    if (wasEditing) this.#events.editing(undefined);
  }

  /** Says why nothing can be written here; empty when it can. */
  set refused(why: string) {
    this.#refused = why;
    this.#text.disabled = why !== "";
    this.#refresh();
  }

  focus(): void {
    this.#text.focus({ preventScroll: true });
  }

  edit(message: Message): void {
    if (this.#edited === undefined) this.#kept = this.#text.value;
    this.#edited = message;
    this.#text.value = contentWords(message.content);
    this.#refresh();
    this.focus();
    this.#text.setSelectionRange(this.#text.value.length, this.#text.value.length);
    this.#events.editing(message);
  }

  stopEditing(): void {
    if (this.#edited === undefined) return;
    this.draft = this.#kept;
    this.focus();
  }

  #submit(event: Event): void {
    event.preventDefault();
    if (this.#send.disabled) return;
    const text = this.#text.value.trim();
    const edited = this.#edited;
    if (edited === undefined) {
      this.draft = "";
      this.#events.send(text);
    } else if (text === contentWords(edited.content)) {
      this.stopEditing();
    } else {
      void this.#events.edit(edited, text).then((done) => done && this.#edited === edited && this.stopEditing());
    }
    this.focus();
  }

  #key(event: KeyboardEvent): void {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (!this.#send.disabled) this.#form.requestSubmit();
    } else if (event.key === "Escape" && this.#edited !== undefined) {
      event.preventDefault();
      this.stopEditing();
    } else if (event.key === "ArrowUp" && this.#text.value === "" && this.#edited === undefined) {
      event.preventDefault();
      this.#events.editLast();
    }
  }

  #input(): void {
    this.#refresh();
    if (this.#text.value.trim() !== "" && this.#edited === undefined) this.#events.typing();
  }

  #refresh(): void {
    const text = this.#text.value.trim();
    const bytes = new TextEncoder().encode(JSON.stringify(this.#edited === undefined ? text : rewritten(this.#edited.content, text))).length;
    const tooLong = bytes > contentLimit;
    this.#editing.hidden = this.#edited === undefined;
    this.#send.disabled = text === "" || tooLong || this.#refused !== "";
    this.#send.textContent = this.#edited === undefined ? "Send" : "Save";
    this.#text.ariaInvalid = tooLong ? "true" : null;
    this.#note.classList.toggle("wrong", tooLong);
    setText(this.#note, this.#words(bytes));
    // As high as its text, up to a bound in the style.
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight + 2}px`;
  }

  #words(bytes: number): string {
    if (this.#refused !== "") return this.#refused;
    if (bytes > contentLimit) return `Too long by ${bytes - contentLimit} bytes: a message has at most ${contentLimit}.`;
    if (bytes > contentLimit - nearLimit) return `${contentLimit - bytes} bytes left.`;
    return this.#edited === undefined ? "Enter sends, Shift + Enter makes a new line." : "Enter saves, Escape leaves it as it was.";
  }
}
