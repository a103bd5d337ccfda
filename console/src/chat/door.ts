import { Api, Problem } from "../api.js";
import { byId, chosen, control, setText } from "../dom.js";
import type { Data } from "./answers.js";
import { readTokens, type Tokens } from "./session.js";
import { explained } from "./wording.js";

const ways = {
  "sign-in": { title: "Sign in", verb: "Sign in", hint: "", password: "Password" },
  "sign-up": { title: "New account", verb: "Make account", hint: "The name has 3 to 20 letters, digits, dots, hyphens or underscores; the password 8 to 128 characters.", password: "Password" },
  reset: { title: "Forgot password", verb: "Set password", hint: "Ask for a code: whoever runs this server sees to it that you get one. With it you set a new password.", password: "New password" },
} as const;

type Way = keyof typeof ways;

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
      const field = error instanceof Problem && (error.field === "username" || error.field === "password" || error.field === "token") ? error.field : undefined;
      if (field === undefined) this.#say(explained(error), true);
      else this.#wrong(field, explained(error));
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
      this.#say("If there is such an account, whoever runs this server has a code for it now. Write it above when you have it.", false);
      this.#field("token").focus();
    } catch (error) {
      this.#say(explained(error), true);
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

  #field(name: "username" | "password" | "token"): HTMLInputElement {
    return control(this.#form, name, HTMLInputElement);
  }

  #busy(busy: boolean): void {
    this.#button.disabled = busy;
    if (!busy) return;
    for (const name of ["username", "password", "token"] as const) this.#field(name).ariaInvalid = null;
    this.#say("Asking the server …", false);
    document.body.dataset["state"] = "connecting";
  }

  #wrong(name: "username" | "password" | "token", why: string): void {
    this.#say(why, true);
    this.#field(name).ariaInvalid = "true";
    this.#field(name).focus();
  }

  #say(text: string, wrong: boolean): void {
    setText(this.#status, text);
    if (document.body.dataset["state"] !== "online") document.body.dataset["state"] = wrong ? "failed" : "idle";
  }
}
