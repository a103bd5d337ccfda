import { byId, setText } from "../dom.js";

/** Who may connect, as the server says; unknown: it has not said. */
export type Door = "open" | "key" | "jwt" | "off" | "unknown";

export interface About {
  demo: boolean;
  door: Door;
}

/** What the server tells everybody of itself. */
export async function about(): Promise<About> {
  try {
    const answer = await fetch("console.json", { cache: "no-store", signal: AbortSignal.timeout(5_000) });
    return aboutIn(answer.ok ? await answer.json() : undefined);
  } catch {
    return aboutIn(undefined);
  }
}

/** Reads such an answer, whatever it is. */
export function aboutIn(answer: unknown): About {
  if (typeof answer !== "object" || answer === null) return { demo: false, door: "unknown" };
  const door = "devices" in answer ? answer.devices : "";
  const known = door === "open" || door === "key" || door === "jwt" || door === "off";
  return { demo: "demo" in answer && answer.demo === true, door: known ? door : "unknown" };
}

const notes: Readonly<Record<Door, string>> = {
  open: "",
  unknown: "",
  key: "On this server devices connect with an API key that has the scope messages:send: they take the one with which you sign in below.",
  jwt: "On this server devices are users of an app: their IDs are user IDs, and they sign in with its token.",
  off: "Devices cannot connect to this server: the setting matching.simple.enabled lets them.",
};

/** What devices connect with. */
export class Access {
  door: Door = "unknown";
  /** The API key that is signed in with; empty: none. */
  key = "";

  /** Shows what is needed. */
  show(door: Door): void {
    this.door = door;
    const note = byId("access-note", HTMLElement);
    note.hidden = notes[door] === "";
    setText(note, notes[door]);
    byId("credentials", HTMLElement).hidden = door !== "jwt";
  }

  /** What goes with the request; a sentence where something is missing. */
  get credentials(): Record<string, string> | string {
    switch (this.door) {
      case "off":
        return notes.off;
      case "key":
        return this.key === "" ? "Devices need an API key here: sign in below first." : { auth: this.key };
      case "jwt": {
        const [appId, auth] = [byId("app-id", HTMLInputElement).value.trim(), byId("token", HTMLInputElement).value.trim()];
        return appId === "" || auth === "" ? "Devices need an app ID and a token here: they stand above." : { appId, auth };
      }
    }
    return {};
  }
}
