import type { SwitchboardError } from "@switchboard/client";
import { explained } from "../chat/problems.js";
import { keepText, keptText } from "../chat/store.js";
import { demo, isPreset, presets } from "../demo.js";
import { byId, control, setText } from "../dom.js";
import type { Identity } from "./line.js";
import { fieldNames, refusals, wrongField, type FieldName } from "./refusal.js";

const place = "switchboard.map";

/** A user of an app, as the form has him. */
export type AppUser = Identity & { token: string };

/** The form at which users of apps sign in. Who is signed in is kept for this tab, and leaves with it. */
export class AppDoor {
  readonly #form = byId("app-sign-in", HTMLFormElement);
  readonly #status = byId("app-status", HTMLElement);

  constructor(signedIn: (user: AppUser) => void) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const identity = { appId: this.#field("appId").value.trim(), userId: this.#field("userId").value.trim(), token: this.#field("appToken").value };
      keepText(place, JSON.stringify(identity));
      this.#calm();
      signedIn(identity);
    });
    for (const preset of this.#form.querySelectorAll<HTMLButtonElement>("[data-preset]")) {
      preset.addEventListener("click", () => this.#preset(preset.dataset["preset"] ?? ""));
    }
  }

  /** Opens the door anew. On the demo its users are offered; a token does not stay for whoever comes next. */
  open(onDemo: boolean): void {
    this.#calm();
    this.#field("appToken").value = "";
    for (const one of ["presets", "demo-who"]) byId(one, HTMLElement).hidden = !onDemo;
    if (onDemo && this.#field("appId").value === "") this.fill({ appId: demo.appId, userId: presets.ann.userId, token: "" });
  }

  /** Says why somebody was not let in. What was entered stays, and the field that it is about has the focus. */
  refuse(error: SwitchboardError): void {
    this.#calm();
    const name = wrongField(error.code);
    const field = this.#field(name ?? "userId");
    if (name !== undefined) field.ariaInvalid = "true";
    (field.closest(".pair") ?? field.closest(".field"))?.after(this.#status);
    setText(this.#status, explained(error, refusals));
    field.focus();
    field.select();
  }

  /** Writes who somebody is into the fields. */
  fill({ appId, userId, token }: AppUser): void {
    for (const [name, value] of Object.entries({ appId, userId, appToken: token })) control(this.#form, name, HTMLInputElement).value = value;
  }

  #preset(name: string): void {
    if (!isPreset(name)) return;
    this.fill({ appId: demo.appId, userId: presets[name].userId, token: "" });
    this.#form.requestSubmit();
  }

  #calm(): void {
    setText(this.#status, "");
    for (const name of fieldNames) this.#field(name).ariaInvalid = null;
  }

  #field(name: FieldName): HTMLInputElement {
    return control(this.#form, name, HTMLInputElement);
  }
}

/** Who was signed in before this tab was loaded anew. */
export function rememberedUser(): AppUser | undefined {
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
