// What the server says about rooms, read with care: whatever is not as the
// protocol has it is left out, so that no view has to think of it.

export type Role = "owner" | "moderator" | "member";

/** A room as everybody may see it. */
export interface Room {
  id: string;
  name: string;
  banner: string;
  public: boolean;
  oneToOne: boolean;
  creator: string;
  members: number;
  /** The number of the last message; 0 in an empty room. */
  lastSeq: number;
  /** When something was said last, or when the room was made. */
  lastAt: number;
}

/** A room that this user is a member of. */
export interface OwnRoom extends Room {
  role: Role;
  readSeq: number;
  unread: number;
  /** In a one-to-one room, the other one. */
  with: string | undefined;
}

export interface Message {
  id: string;
  seq: number;
  from: string;
  content: unknown;
  at: number;
  editedAt: number | undefined;
  editedBy: string | undefined;
  deleted: boolean;
  deletedBy: string | undefined;
}

export interface MessagePage {
  /** Ascending by seq, except what a search has found. */
  messages: Message[];
  /** Whether there is more in the direction that was asked for. */
  more: boolean;
  /** Before which message a search goes on. */
  before?: number | undefined;
}

/** An edit or a deletion. */
export interface Change {
  seq: number;
  by: string;
  at: number;
  deleted: boolean;
  content: unknown;
}

export interface Member {
  user: string;
  role: Role;
  readSeq: number;
}

export interface Profile {
  userId: string;
  username: string;
  displayName: string;
  bio: string;
  avatarUrl: string;
  createdAt: number;
}

/** A frame's data, or an answer's body. */
export type Data = Readonly<Record<string, unknown>>;

export function isData(value: unknown): value is Data {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

export function number(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}

/** A time in milliseconds since 1970; undefined when there is none. */
export function time(value: unknown): number | undefined {
  const at = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isNaN(at) ? undefined : at;
}

export function items(value: unknown): Data[] {
  return Array.isArray(value) ? value.filter(isData) : [];
}

export function readRole(value: unknown): Role {
  return value === "owner" || value === "moderator" ? value : "member";
}

/** Reads a room; undefined when it has no ID. */
export function readRoom(data: Data): Room | undefined {
  const id = text(data["id"]);
  if (id === "") return undefined;
  return {
    id,
    name: text(data["name"]),
    banner: text(data["banner"]),
    public: data["public"] === true,
    oneToOne: data["oneToOne"] === true,
    creator: text(data["creator"]),
    members: number(data["members"]),
    lastSeq: number(data["lastSeq"]),
    lastAt: time(data["lastAt"]) ?? time(data["createdAt"]) ?? 0,
  };
}

/** Reads a room of the user's own list. */
export function readOwnRoom(data: Data): OwnRoom | undefined {
  const room = readRoom(data);
  if (room === undefined) return undefined;
  return {
    ...room,
    role: readRole(data["role"]),
    readSeq: number(data["readSeq"]),
    unread: number(data["unread"]),
    with: text(data["with"]) === "" ? undefined : text(data["with"]),
  };
}

/** Reads a message; undefined when it has no number. */
export function readMessage(data: Data): Message | undefined {
  const seq = number(data["seq"]);
  if (seq < 1) return undefined;
  return {
    id: text(data["id"]),
    seq,
    from: text(data["from"]),
    content: data["content"],
    at: time(data["at"]) ?? 0,
    editedAt: time(data["editedAt"]),
    editedBy: text(data["editedBy"]) === "" ? undefined : text(data["editedBy"]),
    deleted: data["deleted"] === true,
    deletedBy: text(data["deletedBy"]) === "" ? undefined : text(data["deletedBy"]),
  };
}

export function readPage(data: Data): MessagePage {
  const messages = items(data["messages"]).map(readMessage).filter((one) => one !== undefined);
  const before = number(data["before"]);
  return { messages, more: data["more"] === true, before: before === 0 ? undefined : before };
}

export function readChange(data: Data): Change {
  return {
    seq: number(data["seq"]),
    by: text(data["by"]),
    at: time(data["at"]) ?? 0,
    deleted: data["deleted"] === true,
    content: data["content"],
  };
}

export function readMember(data: Data): Member {
  return { user: text(data["user"]), role: readRole(data["role"]), readSeq: number(data["readSeq"]) };
}

export function readProfile(data: Data): Profile {
  return {
    userId: text(data["userId"]),
    username: text(data["username"]),
    displayName: text(data["displayName"]),
    bio: text(data["bio"]),
    avatarUrl: text(data["avatarUrl"]),
    createdAt: time(data["createdAt"]) ?? 0,
  };
}
