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
  jwt: "On this server devices are users of an app: the ID of each is a user ID, such as ANZ-7, and each signs in with that user's token, if its app wants one.",
  off: "Devices cannot connect to this server. The settings matching.enabled and matching.simple.enabled, both of them, let them.",
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
    byId("devices", HTMLElement).hidden = byId("devices-hint", HTMLElement).hidden = door === "off";
    if (door === "off") setText(byId("devices-title", HTMLElement), "Devices");
  }

  /** What goes with the request of a device that has a token, or an empty one; a sentence where something is missing. */
  credentials(token: string): Record<string, string> | string {
    switch (this.door) {
      case "key":
        return this.key === "" ? "Devices need an API key here: sign in below first." : { auth: this.key };
      case "jwt": {
        const appId = byId("app-id", HTMLInputElement).value.trim();
        return appId === "" ? "Devices need an app ID here: it stands above." : { appId, auth: token };
      }
    }
    return {};
  }
}
