// What the answer about settings means, in words.

import type { Settings, SettingsTrouble } from "./answers.js";

/** A row of the table. */
export interface ShownSetting {
  key: string;
  value: string;
  from: string;
  place: string;
  changes: string;
}

/** The state of all in a sentence, and how it is marked. */
export function summaryOf({ source, troubles, pending }: Settings): { shape: "good" | "warn" | "bad"; words: string } {
  const later = pending.length === 0 ? "" : ` ${pending.length === 1 ? "One setting takes" : `${String(pending.length)} settings take`} effect at the next start.`;
  if (troubles.length > 0) return { shape: "bad", words: `What is in force is good; what is newer is not, or cannot be had.${later}` };
  if (source !== undefined && !source.following) return { shape: "warn", words: `The meta server does not tell of changes at once: it is asked for them.${later}` };
  if (pending.length > 0) return { shape: "warn", words: `All is as it is written, but for what takes a restart.${later}` };
  return { shape: "good", words: source === undefined ? "All is as it is written in the file, the environment and the flags of this node." : "All is as it is written, in the repository too." };
}

/** Where settings come from besides this node. */
export function sourceWords({ source }: Settings): string {
  if (source === undefined) return "No repository has settings of this node: settings.url names none. A change of the file is read after SIGHUP.";
  return `This node has further settings of the meta server ${source.url}, profile ${source.profile}.`;
}

/** What is wrong, in few words. */
export function troubleHead({ kind, commit }: SettingsTrouble): string {
  const of = commit === undefined ? "" : `Commit ${commit.slice(0, 10)} is not good`;
  switch (kind) {
    case "bad":
      return of === "" ? "The file, environment or flags are not good" : of;
    case "repository":
      return "The meta server refuses what is newer, or cannot read it";
    case "effect":
      return "Not in effect";
    case "disk":
    case "copy":
      return "No good copy on disk";
    case "stream":
      return "Changes are not told";
    default:
      return "The meta server does not answer as it should";
  }
}

/** The settings whose keys have a text in them: those that are set, or all. */
export function shownSettings({ settings }: Settings, part: string, all: boolean): ShownSetting[] {
  const wanted = part.trim().toLowerCase();
  return settings
    .filter(({ key, from }) => (all || from !== "default") && key.toLowerCase().includes(wanted))
    .map(({ key, value, from, place, live }) => ({ key, value: value === "" ? "–" : value, from, place: place ?? "", changes: live ? "at once" : "restart" }));
}
