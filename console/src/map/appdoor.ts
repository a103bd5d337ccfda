import { keepText, keptText } from "../chat/store.js";
import { demo, isPreset, presets } from "../demo.js";
import { byId, control, setText } from "../dom.js";
import type { Identity } from "./line.js";

const place = "switchboard.map";

/** The form at which users of apps sign in. Who is signed in is kept for this tab, and leaves with it. */
export class AppDoor {
  readonly #form = byId("app-sign-in", HTMLFormElement);
  readonly #status = byId("app-status", HTMLElement);

  constructor(signedIn: (identity: Identity) => void) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const identity = { appId: this.#value("appId").trim(), userId: this.#value("userId").trim(), token: this.#value("appToken") };
      keepText(place, JSON.stringify(identity));
      setText(this.#status, "");
      signedIn(identity);
    });
    for (const preset of this.#form.querySelectorAll<HTMLButtonElement>("[data-preset]")) {
      preset.addEventListener("click", () => this.#preset(preset.dataset["preset"] ?? ""));
    }
  }

  /** On the demo its users are offered. */
  open(onDemo: boolean): void {
    byId("presets", HTMLElement).hidden = !onDemo;
    if (onDemo) this.#fill(demo.appId, presets.ann.userId, demo.token);
  }

  say(why: string): void {
    setText(this.#status, why);
  }

  #preset(name: string): void {
    if (!isPreset(name)) return;
    this.#fill(demo.appId, presets[name].userId, demo.token);
    this.#form.requestSubmit();
  }

  #fill(appId: string, userId: string, token: string): void {
    for (const [name, value] of Object.entries({ appId, userId, appToken: token })) control(this.#form, name, HTMLInputElement).value = value;
  }

  #value(name: string): string {
    return control(this.#form, name, HTMLInputElement).value;
  }
}

/** Who was signed in before this tab was loaded anew. */
export function rememberedUser(): Identity | undefined {
  try {
    const data: unknown = JSON.parse(keptText(place));
    if (typeof data !== "object" || data === null) return undefined;
    const { appId, userId, token } = data as Record<string, unknown>;
    return typeof appId === "string" && typeof userId === "string" && typeof token === "string" ? { appId, userId, token } : undefined;
  } catch {
    return undefined;
  }
}

export function forgetUser(): void {
  keepText(place, "");
}

/** Where what others are told of a user is kept over a reload. */
export function positionDrawer(whose: string): { load(): string; save(text: string): void } {
  const name = `${place}.position.${whose}`;
  return { load: () => keptText(name), save: (text) => keepText(name, text) };
}
