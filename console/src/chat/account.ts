import { Problem } from "../api.js";
import { showDialog } from "../dialog.js";
import { button, element, setText } from "../dom.js";
import { ago, dateTime } from "../format.js";
import { items, readProfile, text, time, type Data } from "./answers.js";
import { attempt, type Desk } from "./desk.js";
import { askForm } from "./formdialog.js";
import { readTokens, type Session } from "./session.js";
import { explained } from "./problems.js";

/** What somebody can do about their own account. */
export function showAccount(desk: Desk, session: Session): void {
  const { people, me } = desk.chat;
  const choices: [words: string, act: () => void, className?: string][] = [
    ["Profile", () => void attempt(desk, () => editProfile(desk))],
    ["Change password", () => changePassword(desk, session)],
    ["Where you are signed in", () => showSessions(desk)],
    ["Blocked people", () => showBlocked(desk)],
    ["Download what is kept of you", () => void attempt(desk, () => download(desk))],
    ["Sign out", () => void signOut(desk, session, false)],
    ["Sign out everywhere", () => void signOut(desk, session, true)],
    ["Delete account", () => deleteAccount(desk), "bad"],
  ];
  const dialog = showDialog(people.name(me));
  for (const [words, act, className] of choices) {
    dialog.append(
      button(words, `choice ${className ?? ""}`, () => {
        dialog.close();
        act();
      }),
    );
  }
  dialog.append(element("div", "dialog-actions", button("Close", "", () => dialog.close())));
  desk.signal.addEventListener("abort", () => dialog.close());
}

async function editProfile(desk: Desk): Promise<void> {
  const { chat, api } = desk;
  const profile = await chat.people.look(chat.me);
  askForm(
    {
      title: "Profile",
      intro: `Others know you as @${profile.username}.`,
      fields: [
        { name: "displayName", label: "Name to show", value: profile.displayName, maxLength: 64, hint: "Instead of your name, which stays beside it." },
        { name: "bio", label: "About you", kind: "textarea", value: profile.bio, maxLength: 1000 },
        { name: "avatarUrl", label: "Address of a picture", kind: "url", value: profile.avatarUrl, hint: "Others see the address; this page fetches no pictures from elsewhere." },
      ],
      verb: "Save",
      submit: async (value) => {
        const body = { displayName: value("displayName").trim(), bio: value("bio").trim(), avatarUrl: value("avatarUrl").trim() };
        chat.people.put(readProfile(await api.patch<Data>("/accounts/me", { body })));
        desk.say("Saved.");
      },
    },
    desk.signal,
  );
}

function changePassword(desk: Desk, session: Session): void {
  askForm(
    {
      title: "Change password",
      intro: "You are signed out everywhere else.",
      fields: [
        { name: "old", label: "Password until now", kind: "password", required: true, autocomplete: "current-password" },
        { name: "new", label: "New password", kind: "password", required: true, maxLength: 128, autocomplete: "new-password", hint: "8 to 128 characters." },
      ],
      verb: "Change",
      problems: { BAD_CREDENTIALS: "The password until now is wrong." },
      submit: async (value) => {
        const answer = await desk.api.post<Data | undefined>("/accounts/me/password", { body: { old: value("old"), new: value("new") } });
        if (answer?.["accessToken"] !== undefined) session.adopt(readTokens(answer, Date.now()));
        desk.say("The password is changed.");
      },
    },
    desk.signal,
  );
}

function showSessions(desk: Desk): void {
  const list = element("ul", "found");
  const note = element("p", "form-problem", "Loading …");
  note.role = "status";
  const dialog = showDialog("Where you are signed in", list, note, element("div", "dialog-actions", button("Close", "", () => dialog.close())));
  desk.signal.addEventListener("abort", () => dialog.close());
  desk.api.get<Data>("/accounts/me/sessions").then(
    (answer) => {
      list.append(...items(answer["sessions"]).map(sessionItem));
      setText(note, "");
    },
    (error: unknown) => setText(note, explained(error)),
  );
}

function sessionItem(session: Data): HTMLElement {
  const began = time(session["createdAt"]);
  const used = time(session["usedAt"]) ?? began;
  const from = text(session["address"]) === "" ? "An address that is not known" : text(session["address"]);
  const when = [began === undefined ? "" : `since ${dateTime(began)}`, used === undefined ? "" : `used ${ago(used, Date.now())}`];
  const item = element("li", "person-item", element("span", "person-names", element("b", "", from), element("small", "", when.filter((one) => one !== "").join(", "))));
  if (session["current"] === true) item.append(element("span", "tag", "here"));
  return item;
}

function showBlocked(desk: Desk): void {
  const list = element("ul", "found");
  const note = element("p", "hint");
  const dialog = showDialog("Blocked people", list, note, element("div", "dialog-actions", button("Close", "", () => dialog.close())));
  desk.signal.addEventListener("abort", () => dialog.close());
  fill();
  void attempt({ say: (why) => setText(note, why), signal: desk.signal }, async () => {
    await desk.blocks.load();
    fill();
  });

  function fill(): void {
    const { users } = desk.blocks;
    list.replaceChildren(...users.map(itemOf));
    setText(note, users.length === 0 ? "You have blocked nobody." : "They cannot write to you, and what they say in rooms is hidden from you.");
  }

  function itemOf(user: string): HTMLElement {
    const name = desk.chat.people.name(user);
    const unblock = button("Unblock", "small", () =>
      void attempt({ say: (why) => setText(note, why), signal: desk.signal }, async () => {
        await desk.blocks.remove(user);
        fill();
      }),
    );
    unblock.ariaLabel = `Unblock ${name}`;
    return element("li", "person-item", element("span", "person-names", element("b", "", name)), unblock);
  }
}

/** Saves all that the server keeps of this user as a file. */
async function download(desk: Desk): Promise<void> {
  const kept = await desk.api.text("/accounts/me/export");
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([kept], { type: "application/json" }));
  link.download = `${desk.chat.me}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
}

function deleteAccount(desk: Desk): void {
  askForm(
    {
      title: "Delete account",
      intro: "You leave all rooms, and your name is free for others. What you said stays, without your name. It cannot be undone.",
      fields: [{ name: "password", label: "Password", kind: "password", required: true, autocomplete: "current-password" }],
      verb: "Delete",
      danger: true,
      problems: { BAD_CREDENTIALS: "The password is wrong." },
      submit: async (value) => {
        await desk.api.delete("/accounts/me", { body: { password: value("password") } });
        desk.signedOut("The account is deleted.");
      },
    },
    desk.signal,
  );
}

async function signOut(desk: Desk, session: Session, all: boolean): Promise<void> {
  try {
    await desk.api.delete("/sessions", { query: { all: all ? "true" : undefined } });
    desk.signedOut(all ? "Signed out everywhere." : "Signed out.");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (all) {
      desk.say(explained(error));
      return;
    }
    // Who wants to leave, leaves, whether the server hears it or not.
    session.forget();
    desk.signedOut("Signed out here. The server could not be told: elsewhere this sign-in is good until it ends by itself.");
  }
}
