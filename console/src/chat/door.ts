import { Api, Problem } from "../api.js";
import { byId, chosen, control, setText } from "../dom.js";
import { capital, withStop } from "../words.js";
import type { Data } from "./answers.js";
import { explained, type Sentences } from "./problems.js";
import { readTokens, type Tokens } from "./session.js";

const ways = {
  "sign-in": { title: "Sign in", verb: "Sign in", hint: "", password: "Password" },
  "sign-up": { title: "New account", verb: "Make account", hint: "The name has 3 to 20 letters, digits, dots, hyphens or underscores; the password 8 to 128 characters.", password: "Password" },
  reset: { title: "Forgot password", verb: "Set password", hint: "With a code you set a new password. Ask for one here, where this server can send it to you, or ask whoever runs the server.", password: "New password" },
} as const;

type Way = keyof typeof ways;

const fieldNames = ["username", "password", "token"] as const;

type FieldName = (typeof fieldNames)[number];

/** The field that an error is about; a code is the only thing that has a token. */
function wrongField(error: unknown): FieldName | undefined {
  if (!(error instanceof Problem)) return undefined;
  return error.code === "BAD_TOKEN" ? "token" : fieldNames.find((name) => name === error.field);
}

/** Troubles that have nothing to do with codes. */
const otherTroubles: ReadonlySet<string> = new Set(["RATE_LIMITED", "BUSY", "STORE_DOWN", "STORE_FULL", "CHAT_OFF", "INTERNAL", "UNREACHABLE", "NO_ANSWER", "ODD_ANSWER"]);

/** Why no code is sent. A server that has no way to send one says so itself. */
function noCode(problem: Problem): string {
  return otherTroubles.has(problem.code) || problem.message === "" ? explained(problem) : capital(withStop(problem.message));
}

/** The form at which people sign in, make an account, or set a new password. */
export class Door {
  readonly #form = byId("sign-in", HTMLFormElement);
  readonly #status = byId("status", HTMLElement);
  readonly #button = byId("sign-in-button", HTMLButtonElement);
  readonly #reset = byId("ask-reset", HTMLButtonElement);
  readonly #api = new Api("", { reached: () => undefined, keyRefused: () => undefined }, { once: false });
  readonly #signedIn: (tokens: Tokens) => void;

  constructor(signedIn: (tokens: Tokens) => void) {
    this.#signedIn = signedIn;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    byId("door-ways", HTMLFieldSetElement).addEventListener("change", () => this.#choose());
    this.#reset.addEventListener("click", () => void this.#askReset());
    byId("show-password", HTMLInputElement).addEventListener("change", ({ target }) => {
      this.#field("password").type = target instanceof HTMLInputElement && target.checked ? "text" : "password";
    });
    this.#choose();
  }

  /** Trades a refresh token for new tokens. */
  renew(refreshToken: string): Promise<Data> {
    return this.#api.post<Data>("/sessions/refresh", { body: { refreshToken } });
  }

  /** Opens the door, and says why somebody stands before it. */
  open(why: string, wrong: boolean): void {
    this.#say(why, wrong);
    this.#field("password").value = "";
    this.#field("username").focus();
  }

  #choose(): void {
    const way = this.#way;
    for (const field of this.#form.querySelectorAll<HTMLElement>("[data-for]")) field.hidden = field.dataset["for"]?.split(" ").includes(way) !== true;
    const { title, verb, hint, password } = ways[way];
    setText(byId("door-title", HTMLElement), title);
    setText(byId("door-hint", HTMLElement), hint);
    byId("door-hint", HTMLElement).hidden = hint === "";
    setText(byId("password-label", HTMLElement), password);
    setText(this.#button, verb);
    this.#field("password").autocomplete = way === "sign-in" ? "current-password" : "new-password";
    this.#say("", false);
  }

  async #submit(): Promise<void> {
    if (this.#button.disabled) return;
    const way = this.#way;
    const fields = way === "reset" ? (["token", "password"] as const) : (["username", "password"] as const);
    const empty = fields.find((name) => this.#field(name).value === "");
    if (empty !== undefined) {
      this.#wrong(empty, empty === "username" ? "Write your name." : empty === "token" ? "Write the code that you were given." : "Write a password.");
      return;
    }
    this.#busy(true);
    try {
      await this.#act(way);
    } catch (error) {
      const here: Sentences = way === "reset" ? { BAD_TOKEN: "The code is wrong, was used, or is too old. Ask for another one." } : {};
      const field = wrongField(error);
      if (field === undefined) this.#say(explained(error, here), true);
      else this.#wrong(field, explained(error, here));
    } finally {
      this.#busy(false);
    }
  }

  async #act(way: Way): Promise<void> {
    const username = this.#field("username").value.trim();
    const password = this.#field("password").value;
    if (way === "sign-up") await this.#api.post("/accounts", { body: { username, password } });
    if (way === "reset") {
      await this.#api.post("/passwords", { body: { token: this.#field("token").value.trim(), password } });
      this.#go("sign-in");
      this.#say("The new password is set. Sign in with it.", false);
      return;
    }
    const tokens = readTokens(await this.#api.post<Data>("/sessions", { body: { username, password } }), Date.now());
    this.#field("password").value = "";
    this.#say("", false);
    this.#go("sign-in");
    this.#signedIn(tokens);
  }

  async #askReset(): Promise<void> {
    const username = this.#field("username").value.trim();
    if (username === "") {
      this.#wrong("username", "Write your name.");
      return;
    }
    this.#reset.disabled = true;
    try {
      await this.#api.post("/resets", { body: { username } });
      this.#say("If there is an account of this name, a code for it was handed on; whoever runs this server knows how it reaches you. Write it above when you have it.", false);
      this.#field("token").focus();
    } catch (error) {
      if (error instanceof Problem && error.field === "username") this.#wrong("username", explained(error));
      else this.#say(error instanceof Problem ? noCode(error) : explained(error), true);
    } finally {
      this.#reset.disabled = false;
    }
  }

  get #way(): Way {
    const way = chosen(this.#form, "way");
    return way in ways ? (way as Way) : "sign-in";
  }

  #go(way: Way): void {
    control(this.#form, "way", RadioNodeList).value = way;
    this.#choose();
  }

  #field(name: FieldName): HTMLInputElement {
    return control(this.#form, name, HTMLInputElement);
  }

  #busy(busy: boolean): void {
    this.#button.disabled = busy;
    if (!busy) return;
    for (const name of fieldNames) this.#field(name).ariaInvalid = null;
    this.#say("Asking the server …", false);
    document.body.dataset["state"] = "connecting";
  }

  #wrong(name: FieldName, why: string): void {
    this.#say(why, true);
    this.#field(name).ariaInvalid = "true";
    this.#field(name).focus();
  }

  #say(text: string, wrong: boolean): void {
    setText(this.#status, text);
    if (document.body.dataset["state"] !== "online") document.body.dataset["state"] = wrong ? "failed" : "idle";
  }
}
