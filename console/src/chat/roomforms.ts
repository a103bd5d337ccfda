import { SwitchboardError } from "@switchboard/client";
import { showDialog } from "../dialog.js";
import { button, element, setText } from "../dom.js";
import { items, readRoom, text, type OwnRoom, type Room } from "./answers.js";
import { avatar } from "./avatar.js";
import type { Desk } from "./desk.js";
import { askForm } from "./formdialog.js";
import { mayInRoom } from "./rules.js";
import { explained } from "./wording.js";

const nameLimit = 100;
const bannerLimit = 500;

/** Makes a room, or writes to somebody. */
export function newRoom(desk: Desk): void {
  const choose = showDialog("New");
  const write = button("Write to one person", "choice", () => {
    choose.close();
    writeTo(desk);
  });
  const make = button("Make a room", "choice", () => {
    choose.close();
    makeRoom(desk);
  });
  choose.append(write, make, element("div", "dialog-actions", button("Cancel", "", () => choose.close())));
  desk.signal.addEventListener("abort", () => choose.close());
  write.focus();
}

function makeRoom(desk: Desk): void {
  askForm(
    {
      title: "Make a room",
      fields: [
        { name: "name", label: "Name of the room", required: true, maxLength: nameLimit },
        { name: "banner", label: "What it is about", maxLength: bannerLimit },
        { name: "public", label: "Public", kind: "checkbox", hint: "anybody may find it, join it, and then read all that was said" },
      ],
      verb: "Make it",
      submit: async (value) => {
        const banner = value("banner").trim();
        desk.show(await desk.chat.create({ name: value("name").trim(), public: value("public") === "on", ...(banner === "" ? {} : { banner }) }));
      },
    },
    desk.signal,
  );
}

function writeTo(desk: Desk): void {
  askForm(
    {
      title: "Write to one person",
      fields: [{ name: "username", label: "Name of the person", required: true, maxLength: 21, autocomplete: "off" }],
      verb: "Write",
      submit: async (value) => {
        const { userId } = await desk.chat.people.find(plainName(value("username")));
        desk.show(await desk.chat.create({ with: userId }));
      },
    },
    desk.signal,
  );
}

/** Names are often written with the sign that stands before them on the page. */
function plainName(typed: string): string {
  return typed.trim().replace(/^@/, "");
}

export function inviteSomebody(desk: Desk, room: OwnRoom): void {
  askForm(
    {
      title: `Invite to ${room.name}`,
      fields: [{ name: "username", label: "Name of the person", required: true, maxLength: 21, autocomplete: "off" }],
      verb: "Invite",
      submit: async (value) => {
        const { userId } = await desk.chat.people.find(plainName(value("username")));
        await desk.chat.change("ROOM_INVITE", { room: room.id, user: userId });
        desk.say(`${desk.chat.people.name(userId)} is in the room now.`);
      },
    },
    desk.signal,
  );
}

export function editRoom(desk: Desk, room: OwnRoom): void {
  const publish = mayInRoom(room, "publish");
  askForm(
    {
      title: "Edit room",
      fields: [
        { name: "name", label: "Name of the room", value: room.name, required: true, maxLength: nameLimit },
        { name: "banner", label: "What it is about", value: room.banner, maxLength: bannerLimit },
        ...(publish ? [{ name: "public", label: "Public", kind: "checkbox" as const, value: room.public ? "on" : "", hint: "anybody may find it, join it, and then read all that was said" }] : []),
      ],
      verb: "Save",
      submit: async (value) => {
        const open = value("public") === "on";
        await desk.chat.change("ROOM_UPDATE", {
          room: room.id,
          name: value("name").trim(),
          banner: value("banner").trim(),
          ...(publish && open !== room.public ? { public: open } : {}),
        });
      },
    },
    desk.signal,
  );
}

/** The public rooms, with a way into each. */
export function findRooms(desk: Desk): void {
  const list = element("ul", "found");
  const problem = element("p", "form-problem", "Loading …");
  problem.role = "status";
  const more = button("Show more", "small", () => void load());
  more.hidden = true;
  const dialog = showDialog("Public rooms", list, more, problem, element("div", "dialog-actions", button("Close", "", () => dialog.close())));
  desk.signal.addEventListener("abort", () => dialog.close());
  let after = "";
  void load();

  async function load(): Promise<void> {
    try {
      const page = await desk.chat.line.ask("ROOM_LIST", { public: true, limit: 50, ...(after === "" ? {} : { after }) });
      const rooms = items(page["rooms"]).map(readRoom).filter((room) => room !== undefined);
      list.append(...rooms.map(itemOf));
      after = text(page["next"]);
      more.hidden = after === "";
      setText(problem, list.childElementCount === 0 ? "There is no public room yet. Make one!" : "");
    } catch (error) {
      setText(problem, explained(error));
    }
  }

  function itemOf(room: Room): HTMLElement {
    const name = element("b", "", room.name);
    name.dir = "auto";
    const members = room.members === 1 ? "1 member" : `${room.members} members`;
    const within = desk.chat.rooms.get(room.id) !== undefined;
    const enter = button(within ? "Open" : "Join", within ? "small" : "small primary", () => void join(room));
    enter.ariaLabel = `${within ? "Open" : "Join"} ${room.name}`;
    return element("li", "person-item", avatar(room.name, room.id), element("span", "person-names", name, element("small", "", room.banner === "" ? members : `${members} · ${room.banner}`)), enter);
  }

  async function join(room: Room): Promise<void> {
    setText(problem, "");
    try {
      if (desk.chat.rooms.get(room.id) === undefined) await desk.chat.join(room.id);
      dialog.close();
      desk.show(room.id);
    } catch (error) {
      const refused = error instanceof SwitchboardError && error.code === "FORBIDDEN";
      setText(problem, refused ? "You may not join this room: you were banned from it, or it is not public any more." : explained(error));
    }
  }
}

