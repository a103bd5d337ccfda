import type { Message, OwnRoom, Room } from "./answers.js";

/** The rooms of this user, with what is unread in each. */
export class RoomList {
  readonly #me: string;
  #rooms = new Map<string, OwnRoom>();

  constructor(me: string) {
    this.#me = me;
  }

  /** The rooms in which something was said last come first. */
  get rooms(): OwnRoom[] {
    return [...this.#rooms.values()].sort((a, b) => b.lastAt - a.lastAt || (a.id < b.id ? 1 : -1));
  }

  get unread(): number {
    return this.rooms.reduce((sum, room) => sum + room.unread, 0);
  }

  get(id: string): OwnRoom | undefined {
    return this.#rooms.get(id);
  }

  /** Replaces all of them: the server's list is right. */
  replace(rooms: readonly OwnRoom[]): void {
    this.#rooms = new Map(rooms.map((room) => [room.id, room]));
  }

  put(room: OwnRoom): void {
    this.#rooms.set(room.id, room);
  }

  remove(id: string): void {
    this.#rooms.delete(id);
  }

  /** The one-to-one room with a user, if there is one. */
  oneToOneWith(user: string): OwnRoom | undefined {
    return this.rooms.find((room) => room.oneToOne && room.with === user);
  }

  /** What a room is called or shows has changed; what this user is in it stays. False for a room that is not listed. */
  changed(room: Room): boolean {
    const known = this.#rooms.get(room.id);
    if (known === undefined) return false;
    // News may overtake each other: numbers only rise.
    const lastSeq = Math.max(known.lastSeq, room.lastSeq);
    this.put({ ...known, ...room, lastSeq, lastAt: Math.max(known.lastAt, room.lastAt) });
    return true;
  }

  update(id: string, part: Partial<OwnRoom>): void {
    const known = this.#rooms.get(id);
    if (known !== undefined) this.put({ ...known, ...part });
  }

  /** A message was said, by somebody else or by this user elsewhere. False for a room that is not listed. */
  said(id: string, { seq, from, at }: Pick<Message, "seq" | "from" | "at">): boolean {
    const room = this.#rooms.get(id);
    if (room === undefined) return false;
    if (seq <= room.lastSeq) return true;
    // Those between were missed; most of them will have been others'.
    const unread = room.unread + seq - room.lastSeq - (from === this.#me ? 1 : 0);
    this.put({ ...room, lastSeq: seq, lastAt: Math.max(room.lastAt, at), unread });
    return true;
  }

  /**
   * This user has read up to a message, here or elsewhere. Of later ones it is
   * known how many are others' when they are at hand.
   */
  read(id: string, seq: number, at: readonly Message[] = []): void {
    const room = this.#rooms.get(id);
    if (room === undefined || seq <= room.readSeq) return;
    const own = at.filter((one) => one.seq > seq && one.from === this.#me).length;
    const left = Math.max(room.lastSeq - seq - own, 0);
    this.put({ ...room, readSeq: seq, unread: Math.min(room.unread, left) });
  }

  /** Somebody came or went. */
  counted(id: string, by: number): void {
    const room = this.#rooms.get(id);
    if (room !== undefined) this.put({ ...room, members: Math.max(room.members + by, 0) });
  }
}

/** A number in few characters, for a badge. */
export function badge(n: number): string {
  return n === 0 ? "" : n > 99 ? "99+" : String(n);
}
