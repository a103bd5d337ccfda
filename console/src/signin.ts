import type { ClientOptions, ErrorKind, StateChange } from "@switchboard/client";
import { demo, presets, type PresetName } from "./demo.js";
import { byId, control } from "./dom.js";
import { userList } from "./json.js";
import { socketAddress } from "./server.js";
import { capital, withStop } from "./words.js";

/** Somebody looks on, who does not want to wait long for a server that is back. */
const longestWaitMs = 10_000;

const pillTexts: Readonly<Record<StateChange["state"], string>> = {
  idle: "Not signed in",
  connecting: "Connecting…",
  "signing-in": "Signing in…",
  online: "Online",
  waiting: "Reconnecting…",
  closed: "Not signed in",
};

/** Kinds of errors that answer a sign-in; others are about the connection. */
const refusals: ReadonlySet<ErrorKind> = new Set<ErrorKind>(["REFUSED", "INVALID_MESSAGE", "GENERAL_ERROR"]);

export interface SignInEvents {
  signIn(options: ClientOptions): void;
  signOut(): void;
  retry(): void;
}

/** The form that connects and signs in, and says how that stands. */
export class SignInForm {
  readonly form = byId("sign-in", HTMLFormElement);
  readonly #fields = byId("sign-in-fields", HTMLFieldSetElement);
  readonly #signIn = byId("sign-in-button", HTMLButtonElement);
  readonly #signOut = byId("sign-out", HTMLButtonElement);
  readonly #status = byId("status", HTMLElement);
  readonly #events: SignInEvents;
  /** While it is, the button that signs in makes the next attempt instead. */
  #waiting = false;

  constructor(events: SignInEvents) {
    this.#events = events;
    this.#input("url").value = socketAddress();
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#waiting) events.retry();
      else this.submit();
    });
    this.#signOut.addEventListener("click", () => events.signOut());
  }

  /** Shows the form; on a demo server with its users, and filled in. Called once, before anything is typed. */
  open(onDemo: boolean): void {
    if (onDemo) {
      this.#input("appId").value = demo.appId;
      this.#input("userId").value = presets.ann.userId;
      this.#input("token").value = demo.token;
    }
    byId("presets", HTMLElement).hidden = !onDemo;
    this.form.hidden = false;
  }

  /** Fills in a demo user. */
  choose(name: PresetName): void {
    this.#input("userId").value = presets[name].userId;
  }

  /** Points the link to the second tab at the user that is not signed in here. */
  offer(name: PresetName): void {
    const link = byId("other-tab", HTMLAnchorElement);
    link.href = `#${name}`;
    link.textContent = `${presets[name].name} in a second tab`;
  }

  submit(): void {
    if (!this.form.reportValidity()) return;
    const checked = (name: string): boolean => control(this.form, name, HTMLInputElement).checked;
    this.#events.signIn({
      url: this.#input("url").value.trim(),
      appId: this.#input("appId").value.trim(),
      userId: this.#input("userId").value.trim(),
      token: this.#input("token").value,
      ack: checked("ack"),
      receipts: checked("receipts"),
      push: checked("push"),
      presence: userList(this.#input("presence").value),
      reconnect: { maxMs: longestWaitMs },
    });
  }

  /** Says how the connection stands. */
  show({ state, error, retryInMs }: Pick<StateChange, "state" | "error" | "retryInMs">, userId: string): void {
    const over = state === "idle" || state === "closed";
    document.body.dataset["state"] = over && error !== undefined ? "failed" : state;
    byId("pill-text", HTMLElement).textContent = state === "online" ? userId : pillTexts[state];
    byId("pill", HTMLElement).title = state === "online" ? `Signed in as ${userId}` : pillTexts[state];
    this.#fields.disabled = !over;
    for (const preset of document.querySelectorAll<HTMLButtonElement>("[data-preset]")) preset.disabled = !over;
    this.#waiting = state === "waiting";
    this.#signIn.disabled = !over && !this.#waiting;
    this.#signIn.textContent = this.#waiting ? "Try now" : "Sign in";
    this.#signOut.disabled = over;
    this.#status.textContent = this.#sentence(state, error, retryInMs ?? 0, userId);
  }

  /** Says what is wrong before anything was tried. */
  problem(text: string): void {
    document.body.dataset["state"] = "failed";
    this.#status.textContent = text;
  }

  #sentence(state: StateChange["state"], error: StateChange["error"], retryInMs: number, userId: string): string {
    const why = error === undefined ? "" : `${withStop(error.message)} (${error.code})`;
    switch (state) {
      case "idle":
        return "Not signed in.";
      case "connecting":
        return `Connecting to ${this.#input("url").value.trim()} …`;
      case "signing-in":
        return `Connected. Signing in as ${userId} …`;
      case "online":
        return `Signed in as ${userId}.`;
      case "waiting":
        return `${capital(why)} Trying again in ${(retryInMs / 1000).toFixed(1)} s.`;
      case "closed":
        if (error === undefined) return "Signed out.";
        return refusals.has(error.kind) ? `Sign-in refused: ${why}` : capital(why);
    }
  }

  #input(name: string): HTMLInputElement {
    return control(this.form, name, HTMLInputElement);
  }
}
