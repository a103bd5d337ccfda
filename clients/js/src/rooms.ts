import { SwitchboardError } from "./errors.js";
import { textOf, type Envelope } from "./frames.js";
import { Deferred } from "./receipts.js";

export type RoomRole = "owner" | "moderator" | "member";

/** A room. What is about the one who asks is there when that is a member. */
export interface Room {
  id: string;
  name: string;
  banner: string;
  public: boolean;
  oneToOne: boolean;
  creator: string;
  createdAt: string;
  members: number;
  /** The number of its newest message; 0 before the first. */
  lastSeq: number;
  lastAt?: string;
  role?: RoomRole;
  readSeq?: number;
  unread?: number;
  /** The other one of a one-to-one room. */
  with?: string;
  deleted?: true;
}

/** A message in a page of the history. Without content it was deleted. */
export interface RoomEntry {
  id: string;
  seq: number;
  from: string;
  content?: unknown;
  at: string;
  editedAt?: string;
  editedBy?: string;
  deleted?: true;
  deletedAt?: string;
  deletedBy?: string;
}

export interface RoomMessage {
  room: string;
  id: string;
  seq: number;
  from: string;
  content: unknown;
  at: string;
}

export interface RoomSent {
  room: string;
  id: string;
  seq: number;
  at: string;
  clientId?: string;
}

export interface RoomChange {
  room: string;
  id: string;
  seq: number;
  by: string;
  at: string;
  content?: unknown;
  deleted?: true;
}

export interface RoomMessages {
  room: string;
  words?: string;
  messages: RoomEntry[];
  /** There are more in the direction in which the page was asked for. */
  more: boolean;
  /** Where a search goes on. */
  before?: number;
}

export interface RoomMark {
  room: string;
  user: string;
  seq: number;
  at: string;
}

export interface RoomMembership {
  room: string;
  user: string;
  role?: RoomRole;
  by: string;
  reason?: "left" | "removed" | "banned" | "deleted" | "unbanned";
}

export interface RoomMember {
  user: string;
  role: RoomRole;
  since: string;
  readSeq: number;
}

export interface RoomMembers {
  room: string;
  members: RoomMember[];
  next?: string;
}

export interface RoomList {
  rooms: Room[];
  next?: string;
}

interface InRoom {
  room: string;
}

interface AboutUser extends InRoom {
  user: string;
}

/** What each frame about rooms asks with, and is answered with. */
export interface RoomCalls {
  ROOM_SEND: [asks: InRoom & { content: unknown; clientId?: string }, answer: RoomSent];
  ROOM_EDIT: [asks: InRoom & { id: string; content: unknown }, answer: RoomChange];
  ROOM_DELETE: [asks: InRoom & { id: string }, answer: RoomChange];
  ROOM_HISTORY: [asks: InRoom & { before?: number; after?: number; limit?: number }, answer: RoomMessages];
  ROOM_SEARCH: [asks: InRoom & { words: string; before?: number; limit?: number }, answer: RoomMessages];
  ROOM_READ: [asks: InRoom & ({ id: string } | { seq: number }), answer: RoomMark];
  ROOM_CREATE: [asks: { name: string; public?: boolean; banner?: string } | { with: string }, answer: Room];
  ROOM_LIST: [asks: { public?: boolean; after?: string; limit?: number }, answer: RoomList];
  ROOM_UPDATE: [asks: InRoom & { name?: string; banner?: string; public?: boolean }, answer: Room];
  ROOM_JOIN: [asks: InRoom, answer: RoomMembership];
  ROOM_LEAVE: [asks: InRoom, answer: RoomMembership];
  ROOM_INVITE: [asks: AboutUser, answer: RoomMembership];
  ROOM_REMOVE: [asks: AboutUser, answer: RoomMembership];
  ROOM_BAN: [asks: AboutUser, answer: RoomMembership];
  ROOM_UNBAN: [asks: AboutUser, answer: RoomMembership];
  ROOM_ROLE: [asks: AboutUser & { role: RoomRole }, answer: RoomMembership];
  ROOM_MEMBERS: [asks: InRoom & { after?: string; limit?: number }, answer: RoomMembers];
  ROOM_CLOSE: [asks: InRoom, answer: Room];
}

/** What others did in a room, or the same user on another session. */
export type RoomNews =
  | { type: "ROOM_MESSAGE"; data: RoomMessage }
  | { type: "ROOM_MESSAGE_CHANGED"; data: RoomChange }
  | { type: "ROOM_READ_BY"; data: RoomMark }
  | { type: "ROOM_TYPING"; data: { room: string; user: string } }
  | { type: "ROOM_CHANGED"; data: Room }
  | { type: "ROOM_MEMBER_JOINED" | "ROOM_MEMBER_LEFT" | "ROOM_MEMBER_CHANGED"; data: RoomMembership };

const newsTypes: ReadonlySet<string> = new Set<RoomNews["type"]>([
  "ROOM_MESSAGE",
  "ROOM_MESSAGE_CHANGED",
  "ROOM_READ_BY",
  "ROOM_TYPING",
  "ROOM_CHANGED",
  "ROOM_MEMBER_JOINED",
  "ROOM_MEMBER_LEFT",
  "ROOM_MEMBER_CHANGED",
]);

/** The news in a frame; undefined when it is an answer, or about something else. */
export function readNews(frame: Envelope): RoomNews | undefined {
  if (frame.reference !== undefined || !newsTypes.has(frame.type) || textOf(frame.data["room"] ?? frame.data["id"]) === undefined) {
    return undefined;
  }
  return { type: frame.type, data: frame.data } as unknown as RoomNews;
}

/** Remembers what was asked of rooms and matches, until it is answered. */
export class Asks {
  readonly #waiting = new Map<string, Deferred<unknown>>();
  #count = 0;

  /** A reference for the next one, and what its answer is waited for with. */
  begin<T>(): { reference: string; answer: Promise<T>; forget: () => void } {
    const reference = `room-${++this.#count}`;
    const done = new Deferred<unknown>();
    this.#waiting.set(reference, done);
    return { reference, answer: done.promise as Promise<T>, forget: () => this.#waiting.delete(reference) };
  }

  /** Says whether the frame answers something that was asked. */
  answered(frame: Envelope): boolean {
    const done = this.#take(frame.reference);
    done?.fulfil(frame.data);
    return done !== undefined;
  }

  /** Says whether the error answers something that was asked. */
  failed(error: SwitchboardError): boolean {
    const done = this.#take(error.reference);
    done?.fail(error);
    return done !== undefined;
  }

  /** The connection broke: what was asked for may have been done. */
  lost(cause: SwitchboardError): void {
    for (const [reference, done] of this.#waiting) {
      done.fail(new SwitchboardError(cause.kind, cause.code, cause.message, { reference, mayYetArrive: true, cause }));
    }
    this.#waiting.clear();
  }

  #take(reference: string | undefined): Deferred<unknown> | undefined {
    if (reference === undefined) return undefined;
    const done = this.#waiting.get(reference);
    this.#waiting.delete(reference);
    return done;
  }
}
