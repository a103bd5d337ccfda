import type { Member, OwnRoom } from "./answers.js";
import { ReadMarks } from "./marks.js";
import { Timeline } from "./timeline.js";
import { Typists } from "./typists.js";
import { firstUnread, type Unread } from "./unread.js";

/** What is at hand of a room that was opened. */
export class RoomState {
  readonly id: string;
  readonly timeline = new Timeline();
  readonly marks = new ReadMarks();
  readonly typists = new Typists();
  members: Member[] = [];
  /** From where the list of members goes on; undefined when all are there. */
  membersNext: string | undefined;
  membersLoaded = false;
  /** What of its history is being asked for. */
  loading: "" | "page" | "older" | "newer" = "";
  /** Why the last question about its history was not answered, for people. */
  problem = "";
  /** What was unread when the room was opened, until it is known where that begins. */
  unread: Unread | undefined;
  /** The first message of others that was unread when the room was opened; 0 for none. */
  unreadFrom = 0;
  /** What was typed and not sent. */
  draft = "";

  constructor(id: string) {
    this.id = id;
  }

  /** Looks where what is unread begins among the messages at hand; false while they do not tell. */
  findUnread(me: string): boolean {
    if (this.unread === undefined) return true;
    const from = firstUnread(this.timeline, me, this.unread);
    if (from === undefined) return false;
    this.unreadFrom = from;
    this.unread = undefined;
    return true;
  }

  /** What was unread is of no interest any more: somebody goes somewhere else, or writes. */
  passUnread(): void {
    this.unread = undefined;
    this.unreadFrom = 0;
  }

  put(member: Member): void {
    this.marks.set(member.user, member.readSeq);
    const at = this.members.findIndex(({ user }) => user === member.user);
    if (at < 0) this.members.push(member);
    else this.members[at] = { ...this.members[at], ...member };
  }

  remove(user: string): void {
    this.members = this.members.filter((one) => one.user !== user);
    this.marks.remove(user);
    this.typists.done(user);
  }
}

/** What a room is called here: a one-to-one room has the other's name. */
export function roomName(room: OwnRoom, name: (userId: string) => string): string {
  if (room.oneToOne && room.with !== undefined) return name(room.with);
  return room.name === "" ? "Room without a name" : room.name;
}
