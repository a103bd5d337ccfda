import type { Message } from "./answers.js";
import type { Draft } from "./outbox.js";
import { dayName } from "./wording.js";

/** Messages of one author that follow each other within this time stand together. */
const togetherMs = 5 * 60_000;

/** One row of the list of messages. The key is the same as long as it is about the same. */
export type Row =
  | { kind: "day"; key: string; text: string }
  | { kind: "unread"; key: string }
  | { kind: "message"; key: string; message: Message; follows: boolean; readers: readonly string[]; hidden: boolean }
  | { kind: "draft"; key: string; draft: Draft };

export interface RowsOf {
  messages: readonly Message[];
  drafts: readonly Draft[];
  readers: ReadonlyMap<number, string[]>;
  /** From which message on nothing was read when the room was opened; 0 for none. */
  unreadFrom: number;
  /** Whether an author is blocked. */
  hides: (user: string) => boolean;
  now: number;
}

/** What stands in the list, from top to bottom. */
export function rowsOf({ messages, drafts, readers, unreadFrom, hides, now }: RowsOf): Row[] {
  const rows: Row[] = [];
  let before: Message | undefined;
  let day = "";
  for (const message of messages) {
    const today = dayName(message.at, now);
    if (today !== day) rows.push({ kind: "day", key: `day ${message.seq}`, text: today });
    const divided = unreadFrom > 0 && message.seq >= unreadFrom && (before === undefined || before.seq < unreadFrom);
    if (divided) rows.push({ kind: "unread", key: "unread" });
    const follows = before?.from === message.from && today === day && !divided && message.at - before.at < togetherMs;
    rows.push({ kind: "message", key: `m ${message.seq}`, message, follows, readers: readers.get(message.seq) ?? [], hidden: hides(message.from) });
    before = message;
    day = today;
  }
  for (const draft of drafts) rows.push({ kind: "draft", key: `d ${draft.clientId}`, draft });
  return rows;
}
