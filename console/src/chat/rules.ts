import type { OwnRoom, Role } from "./answers.js";

const ranks: Readonly<Record<Role, number>> = { member: 0, moderator: 1, owner: 2 };

/** What somebody may do to the room itself. The server decides; this says what is worth offering. */
export type RoomDeed = "invite" | "update" | "publish" | "close" | "leave" | "bans";

export function mayInRoom(room: Pick<OwnRoom, "role" | "oneToOne" | "members">, deed: RoomDeed): boolean {
  if (room.oneToOne) return deed === "leave" && room.members === 1; // the other one is gone
  switch (deed) {
    case "leave":
      return true;
    case "invite":
    case "update":
    case "bans":
      return ranks[room.role] >= ranks.moderator;
    case "publish":
    case "close":
      return room.role === "owner";
  }
}

/** What somebody may do to another member. */
export type MemberDeed = "remove" | "ban" | "promote" | "demote" | "handOver";

export function mayToMember(room: Pick<OwnRoom, "role" | "oneToOne">, target: Role, deed: MemberDeed): boolean {
  if (room.oneToOne || ranks[room.role] <= ranks[target]) return false;
  switch (deed) {
    case "remove":
    case "ban":
      return true;
    case "promote":
      return room.role === "owner" && target === "member";
    case "demote":
      return room.role === "owner" && target === "moderator";
    case "handOver":
      return room.role === "owner";
  }
}

/** Whether a message may be edited, or deleted, by this user. */
export function mayToMessage(room: Pick<OwnRoom, "role" | "oneToOne">, own: boolean, deed: "edit" | "delete"): boolean {
  if (own) return true;
  return deed === "delete" && !room.oneToOne && ranks[room.role] >= ranks.moderator;
}
