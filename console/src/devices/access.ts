import { byId, setText } from "../dom.js";
import type { DeviceDoor } from "../server.js";

const notes: Readonly<Record<DeviceDoor, string>> = {
  open: "",
  unknown: "",
  key: "On this server devices connect with an API key that has the scope messages:send: they take the one with which you sign in below.",
  jwt: "On this server devices are users of an app: the ID of each is a user ID, such as ANZ-7, and each signs in with that user's token, if its app wants one.",
  off: "Devices cannot connect to this server. The settings matching.enabled and matching.simple.enabled, both of them, let them.",
};

/** What devices connect with. */
export class Access {
  door: DeviceDoor = "unknown";
  /** The API key that is signed in with; empty: none. */
  key = "";

  /** Shows what is needed. */
  show(door: DeviceDoor): void {
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
