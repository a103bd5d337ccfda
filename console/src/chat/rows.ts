import type { Message } from "./answers.js";
import type { Draft } from "./outbox.js";
import { dayName } from "./wording.js";

/** Messages of one author that follow each other within this time stand together. */
const togetherMs = 5 * 60_000;

/** One row of the list of messages. The key is the same as long as it is about the same. */
export type Row =
  | { kind: "day"; key: string; text: string }
  | { kind: "unread"; key: string }
  | { kind: "message"; key: string; message: Message; follows: boolean; readers: readonly string[] }
  | { kind: "hidden"; key: string; messages: readonly Message[] }
  | { kind: "draft"; key: string; draft: Draft };

export interface RowsOf {
  messages: readonly Message[];
  drafts: readonly Draft[];
  readers: ReadonlyMap<number, string[]>;
  /** The first message of others that was unread when the room was opened; 0 for none. */
  unreadFrom: number;
  /** Whether an author is blocked. */
  hides: (user: string) => boolean;
  now: number;
}

/** What stands in the list, from top to bottom. What blocked people say without a break is one row. */
export function rowsOf({ messages, drafts, readers, unreadFrom, hides, now }: RowsOf): Row[] {
  const rows: Row[] = [];
  let before: Message | undefined;
  let day = "";
  for (const message of messages) {
    const today = dayName(message.at, now);
    if (today !== day) rows.push({ kind: "day", key: `day ${message.seq}`, text: today });
    const divided = message.seq === unreadFrom;
    if (divided) rows.push({ kind: "unread", key: "unread" });
    if (hides(message.from)) {
      hide(rows, message);
      before = message;
      day = today;
      continue;
    }
    const follows = before?.from === message.from && today === day && !divided && message.at - before.at < togetherMs;
    rows.push({ kind: "message", key: `m ${message.seq}`, message, follows, readers: readers.get(message.seq) ?? [] });
    before = message;
    day = today;
  }
  for (const draft of drafts) rows.push({ kind: "draft", key: `d ${draft.clientId}`, draft });
  return rows;
}

/** Puts a message that is hidden to those that stand right before it, if there are any. */
function hide(rows: Row[], message: Message): void {
  const last = rows.at(-1);
  if (last?.kind === "hidden") rows[rows.length - 1] = { ...last, messages: [...last.messages, message] };
  else rows.push({ kind: "hidden", key: `h ${message.seq}`, messages: [message] });
}
