import { Api, Problem, sentence } from "../api.js";
import { byId, setText } from "../dom.js";
import { rememberedKey, rememberKey } from "../keymemory.js";
import type { Own } from "../operator/answers.js";
import { Journal } from "./journal.js";
import { Traffic } from "./traffic.js";

/** What is there while somebody is signed in. */
export interface Signed {
  api: Api;
  own: Own;
  /** Given when it is over. */
  signal: AbortSignal;
}

/** The part for which an API key is needed: traffic and the journal. */
export class Numbers {
  readonly #form = byId("sign-in", HTMLFormElement);
  readonly #key = byId("key", HTMLInputElement);
  readonly #status = byId("status", HTMLElement);
  readonly #where = byId("numbers", HTMLElement);
  readonly #signOut = byId("sign-out", HTMLButtonElement);
  readonly #keyChanged: (key: string) => void;
  #api: Api | undefined;
  #leaving = new AbortController();

  /** `keyChanged` is told the key that is signed in with, empty when it is none. */
  constructor(keyChanged: (key: string) => void) {
    this.#keyChanged = keyChanged;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.signIn(keyIn(this.#key.value));
    });
    this.#signOut.addEventListener("click", () => {
      this.#close("Signed out.");
      this.#key.focus();
    });
  }

  /** Signs in with the key that this tab has, if it has one. */
  async open(): Promise<void> {
    const key = rememberedKey();
    if (key === "") this.#form.hidden = false;
    else await this.signIn(key);
  }

  async signIn(key: string): Promise<void> {
    const button = byId("sign-in-button", HTMLButtonElement);
    if (key === "") return;
    button.disabled = true;
    this.#say("Asking the server …", false);
    const api = new Api(key, { reached: () => undefined, keyRefused: (problem) => this.#api === api && this.#close(sentence(problem)) });
    try {
      const own = await api.get<Own>("/whoami");
      rememberKey(key);
      this.#key.value = "";
      this.#say("", false);
      this.#show(api, own, key);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      // A key that cannot be asked about now may be good: it stays for the next try.
      if (error.keyIsBad) rememberKey("");
      else this.#key.value = key;
      this.#form.hidden = false;
      this.#say(sentence(error), true);
    } finally {
      button.disabled = false;
    }
  }

  #show(api: Api, own: Own, key: string): void {
    this.#leaving.abort();
    this.#leaving = new AbortController();
    this.#api = api;
    this.#form.hidden = true;
    this.#signOut.hidden = false;
    setText(byId("signed", HTMLElement), own.admin ? "Signed in with an admin key." : `Signed in with a key of ${own.app ?? "an app"}.`);
    const signed = { api, own, signal: this.#leaving.signal };
    this.#where.replaceChildren(new Traffic(signed).element, new Journal(signed).element);
    this.#keyChanged(key);
  }

  #close(why: string): void {
    this.#api = undefined;
    this.#leaving.abort();
    rememberKey("");
    this.#where.replaceChildren();
    this.#form.hidden = false;
    this.#signOut.hidden = true;
    setText(byId("signed", HTMLElement), "");
    this.#say(why, false);
    this.#keyChanged("");
  }

  #say(text: string, wrong: boolean): void {
    setText(this.#status, text);
    this.#status.classList.toggle("wrong", wrong);
  }
}

/** The key in what was pasted, such as the whole line that the demo prints. */
function keyIn(text: string): string {
  return /sb_[a-z2-7]+_[a-z2-7]+/.exec(text)?.[0] ?? text.trim();
}
