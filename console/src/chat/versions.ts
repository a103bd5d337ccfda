import { items, readChange, type Data, type Message } from "./answers.js";

/** What a message said from some time on. */
export interface Version {
  by: string;
  at: number;
  content: unknown;
}

/**
 * All that a message has said, oldest first. The server keeps with each version
 * who replaced it, and when: that is who wrote the next one.
 */
export function versionsOf(message: Message, answer: Data): Version[] {
  const replaced = items(answer["versions"]).map(readChange);
  const authors = [{ by: message.from, at: message.at }, ...replaced];
  return authors.map(({ by, at }, i) => ({ by, at, content: i < replaced.length ? replaced[i]?.content : message.content }));
}
