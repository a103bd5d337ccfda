// Why a user of an app is not let in. Nothing here touches the page.

import type { Sentences } from "../chat/problems.js";

export const fieldNames = ["appId", "userId", "appToken"] as const;

export type FieldName = (typeof fieldNames)[number];

/** The app is known by its name, with which the user ID begins. */
const about: Readonly<Record<string, FieldName>> = {
  WRONG_APP_ID: "appId",
  UNKNOWN_APP: "userId",
  BAD_USER_ID: "userId",
  WRONG_DOMAIN: "userId",
  BAD_TOKEN: "appToken",
  TOKEN_EXPIRED: "appToken",
};

/** What the server's refusals mean to who has filled in the form. */
export const refusals: Sentences = {
  WRONG_APP_ID: "The app has another app ID.",
  UNKNOWN_APP: "There is no app of the name with which this user ID begins.",
  BAD_USER_ID: "A user ID is the name of the app, a hyphen and a number, such as ANZ-123.",
  BAD_TOKEN: "The token is missing, wrong, or not this user's.",
  TOKEN_EXPIRED: "The token is not good any more, or not yet.",
  REFUSED: "The app's own server does not let this user in.",
};

/** The field that a refusal is about; undefined: all of them, or none. */
export function wrongField(code: string): FieldName | undefined {
  return Object.hasOwn(about, code) ? about[code] : undefined;
}
