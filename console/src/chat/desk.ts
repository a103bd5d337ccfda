import type { Api } from "../api.js";
import type { Blocks } from "./blocks.js";
import type { Chat } from "./chat.js";
import { explained, type Sentences } from "./problems.js";

/** What the views of one who is signed in work with. */
export interface Desk {
  chat: Chat;
  api: Api;
  blocks: Blocks;
  /** Given when the person has signed out. */
  signal: AbortSignal;
  /** Says what came of something that was asked for, also to who cannot see it. */
  say(text: string): void;
  /** Shows a room, and moves to it where one part is shown at a time. */
  show(room: string): void;
  /** Everything that is signed out here, with a word why. */
  signedOut(why: string): void;
}

/** Runs what somebody asked for; what went wrong is said, with sentences for some codes. */
export async function attempt(desk: Pick<Desk, "say" | "signal">, act: () => Promise<void>, here?: Sentences): Promise<void> {
  try {
    await act();
  } catch (error) {
    const why = explained(error, here);
    if (!desk.signal.aborted && why !== "") desk.say(why);
  }
}
