import { showDialog } from "../dialog.js";
import { button, element, setText } from "../dom.js";
import { Problem } from "../api.js";
import { items, readRoom, text, type OwnRoom, type Profile, type Room } from "./answers.js";
import { avatar } from "./avatar.js";
import type { Desk } from "./desk.js";
import { askForm, type Field } from "./formdialog.js";
import { mayInRoom } from "./rules.js";
import { explained, type Sentences } from "./problems.js";

const nameLimit = 100;
const bannerLimit = 1000;
/** A name or a user ID, with the sign that may stand before a name. */
const whoLimit = 64;

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
      fields: [whoField],
      verb: "Write",
      problems: writeProblems("This person"),
      submit: async (value) => {
        const { userId } = await lookUp(desk, value("username"));
        desk.show(await desk.chat.create({ with: userId }));
      },
    },
    desk.signal,
  );
}

const whoField: Field = { name: "username", label: "Name of the person", required: true, maxLength: whoLimit, autocomplete: "off", hint: "Or the user ID, such as chat-7." };

/** Why nothing can be written to somebody. */
export function writeProblems(name: string): Sentences {
  return {
    FORBIDDEN: `${name} does not want to hear from you.`,
    NOT_FOUND: "There is nobody of this name or user ID.",
    CONFLICT: "You two had a room of your own, which you have left for good.",
  };
}

/**
 * Who is meant. What looks like a user ID may be a name as well: it is taken for
 * the ID, so that nobody is found in another's place by a name that looks like it.
 */
async function lookUp(desk: Desk, typed: string): Promise<Profile> {
  const { people } = desk.chat;
  const who = typed.trim();
  if (!/^[a-z]\w*-\d+$/i.test(who)) return people.find(who.replace(/^@/, ""));
  try {
    return await people.look(who);
  } catch (error) {
    if (error instanceof Problem && (error.code === "NOT_FOUND" || error.code === "INVALID_REQUEST")) return people.find(who);
    throw error;
  }
}

export function inviteSomebody(desk: Desk, room: OwnRoom): void {
  askForm(
    {
      title: `Invite to ${room.name}`,
      fields: [whoField],
      verb: "Invite",
      problems: {
        FORBIDDEN: "This person does not want to be invited by you, or you may not invite to this room any more.",
        NOT_FOUND: "There is nobody of this name or user ID.",
        CONFLICT: "This person is banned from the room.",
      },
      submit: async (value) => {
        const { userId } = await lookUp(desk, value("username"));
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

const joinProblems: Sentences = {
  FORBIDDEN: "You may not join this room: you were banned from it, or it is not public any more.",
  NOT_FOUND: "This room is not there any more, or not public any more.",
};

/** The public rooms, with a way into each. */
export function findRooms(desk: Desk): void {
  const list = element("ul", "found");
  const filter = element("input", "found-filter");
  filter.type = "search";
  filter.ariaLabel = "Names to show";
  filter.placeholder = "Filter by name";
  filter.hidden = true;
  filter.addEventListener("input", () => sift());
  const problem = element("p", "form-problem", "Loading …");
  problem.role = "status";
  const more = button("Show more", "small", () => void load());
  more.hidden = true;
  const dialog = showDialog("Public rooms", filter, list, more, problem, element("div", "dialog-actions", button("Close", "", () => dialog.close())));
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
      filter.hidden = list.childElementCount < 2;
      sift();
    } catch (error) {
      setText(problem, explained(error));
    }
  }

  /** Shows those of the rooms at hand that have the typed words in their names. */
  function sift(): void {
    const words = filter.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
    const all = [...list.querySelectorAll("li")];
    for (const item of all) {
      const name = item.querySelector("b")?.textContent.toLowerCase() ?? "";
      item.hidden = !words.every((word) => name.includes(word));
    }
    const none = `No room of this name${more.hidden ? "" : " among those that are loaded; show more"}.`;
    if (all.length === 0) setText(problem, "There is no public room yet. Make one!");
    else setText(problem, all.every(({ hidden }) => hidden) ? none : "");
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
      setText(problem, explained(error, joinProblems));
    }
  }
}

