import { SwitchboardError } from "@switchboard/client";
import { isAbort, Problem } from "../api.js";
import { capital, withStop } from "../words.js";

/** Sentences by code. */
export type Sentences = Readonly<Record<string, string>>;

const signedOut = "You were signed out. Sign in again.";
const busy = "The server has too much to do just now. Try again in a moment.";
const late = "The server did not answer in time. Try again in a moment.";
const full = "Too much waits to be sent. Wait a moment, then try again.";

/** What to say to people instead of what the server says to programs. */
const sentences: Sentences = {
  BAD_CREDENTIALS: "Name or password is wrong.",
  NAME_TAKEN: "Somebody has this name already.",
  SIGN_UP_CLOSED: "New accounts cannot be made on this server; ask whoever runs it.",
  NO_NUMBERS: "This server has no room for more accounts; tell whoever runs it.",
  CHAT_OFF: "Chat is off on this server.",
  STORE_DOWN: "The server cannot reach its database just now. Try again in a moment.",
  STORE_FULL: "The server's disk is full; tell whoever runs it.",
  BUSY: busy,
  OVERLOADED: busy,
  RATE_LIMITED: "Too many tries. Wait a while, then try again.",
  TOKEN_REUSED: "This sign-in was used from somewhere else, so it was ended. Sign in again.",
  BAD_TOKEN: signedOut,
  TOKEN_EXPIRED: signedOut,
  AUTH_REQUIRED: signedOut,
  TOO_MANY_SESSIONS: "You are connected from too many places at once.",
  HOOK_FAILED: "The server cannot check just now who you are. Try again in a moment.",
  FORBIDDEN: "You may not do this.",
  NOT_FOUND: "That is not there, or not any more.",
  CONFLICT: "Something has changed meanwhile, so that this cannot be done.",
  WRONG_DOMAIN: "That is at home on another server.",
  BODY_TOO_LARGE: "That is too long.",
  INTERNAL: "The server has a fault. Try again, or tell whoever runs it.",
  TIMEOUT: late,
  NO_ANSWER: late,
  UNREACHABLE: "The server cannot be reached.",
  ODD_ANSWER: "Something else has answered in the server's place; tell whoever runs it.",
  NOT_CONNECTED: "There is no connection to the server.",
  CONNECTION_LOST: "The connection was lost before the server had answered.",
  BUFFER_FULL: full,
  TOO_MANY_PENDING: full,
};

const password = "A password has 8 to 128 characters.";

/** What a field has to be, where people fill it in. */
const fields: Sentences = {
  username: "A name has 3 to 20 letters, digits, dots, hyphens or underscores.",
  password,
  new: password,
  displayName: "The name to show has at most 64 characters, in one line.",
  bio: "What you say about you has at most 1000 characters.",
  avatarUrl: "The address of a picture begins with https:// or http:// and has at most 500 characters.",
  "data.name": "The name of a room has 1 to 100 characters.",
  "data.banner": "What a room is about has at most 1000 characters, in one line.",
  "data.content": "The message is longer than this server takes.",
  "data.words": "Give one to eight words to look for.",
  "data.with": "That cannot be: it is you, or nobody of this server.",
  "data.user": "That cannot be: it is you, or nobody of this server.",
};

/** The codes of what is wrong in what was asked. */
const aboutFields: ReadonlySet<string> = new Set(["INVALID_REQUEST", "BAD_FIELD", "MISSING_FIELD"]);

/**
 * An error in a sentence for people; one that is none of these is a fault of ours
 * and goes on. `here` says some codes otherwise, where it is known what was asked
 * for. A code is shown only where there is no sentence for it.
 */
export function explained(error: unknown, here: Sentences = {}): string {
  if (isAbort(error)) return "";
  if (!(error instanceof Problem) && !(error instanceof SwitchboardError)) throw error;
  const wait = error instanceof Problem && error.code === "RATE_LIMITED" ? error.retryAfterMs : undefined;
  if (wait !== undefined) return `Too many tries. Wait ${Math.max(Math.ceil(wait / 1000), 1)} s, then try again.`;
  const known = here[error.code] ?? sentences[error.code];
  if (known !== undefined) return known;
  const told = capital(withStop(error.message === "" ? "the server refused it" : error.message));
  // Of these the server says best itself how many there may be.
  if (error.code === "TOO_MANY") return told;
  if (aboutFields.has(error.code)) return fields[fieldOf(error)] ?? told;
  return `${told} (${error.code})`;
}

/** Which field an error is about. On the socket the sentence begins with it. */
function fieldOf(error: Problem | SwitchboardError): string {
  if (error instanceof Problem) return error.field ?? "";
  return /^data\.\w+/.exec(error.message)?.[0] ?? "";
}

/** Whether it is worth to try the same again by itself. */
export function mayPass(error: unknown): boolean {
  if (error instanceof Problem) return error.mayPass;
  if (!(error instanceof SwitchboardError)) return false;
  const passing = ["STORE_DOWN", "STORE_FULL", "BUSY", "OVERLOADED", "TIMEOUT", "NO_ANSWER", "NOT_CONNECTED", "BUFFER_FULL", "RATE_LIMITED", "TOO_MANY_PENDING"];
  return error.kind === "CONNECTION" || passing.includes(error.code);
}
