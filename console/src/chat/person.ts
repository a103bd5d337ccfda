import { showDialog } from "../dialog.js";
import { button, element, setText } from "../dom.js";
import { dateTime } from "../format.js";
import type { Profile } from "./answers.js";
import { avatar } from "./avatar.js";
import { attempt, type Desk } from "./desk.js";
import { explained, type Sentences } from "./problems.js";
import { writeProblems } from "./roomforms.js";

/** Shows who somebody is, and what one may do about them. */
export function showPerson(desk: Desk, user: string): void {
  const { chat, blocks, signal } = desk;
  const body = element("div", "person");
  const problem = element("p", "form-problem");
  problem.role = "alert";
  const actions = element("div", "dialog-actions");
  const dialog = showDialog(chat.people.name(user), body, problem, actions);
  signal.addEventListener("abort", () => dialog.close());
  const known = chat.people.profile(user);
  if (known !== undefined) fill(known);
  chat.people.look(user).then(fill, (error: unknown) => setText(problem, explained(error, { NOT_FOUND: "This account is not there any more." })));
  showActions();

  function fill(profile: Profile): void {
    setText(dialog.querySelector("h2") ?? body, chat.people.name(user));
    body.replaceChildren(avatar(chat.people.name(user), user), facts(profile));
  }

  function showActions(): void {
    const close = button("Close", "", () => dialog.close());
    if (user === chat.me) {
      actions.replaceChildren(close);
      return;
    }
    const blocked = blocks.has(user);
    const block = button(blocked ? "Unblock" : "Block", blocked ? "" : "danger-quiet", () => void act(() => (blocked ? blocks.remove(user) : blocks.add(user))));
    const write = button("Write", "primary", () =>
      void act(async () => {
        const room = await chat.create({ with: user });
        dialog.close();
        desk.show(room);
      }, writeProblems(chat.people.name(user))),
    );
    write.disabled = blocked;
    actions.replaceChildren(block, close, write);
  }

  async function act(deed: () => Promise<void>, here?: Sentences): Promise<void> {
    setText(problem, "");
    await attempt({ say: (text) => setText(problem, text), signal }, deed, here);
    showActions();
  }
}

function facts(profile: Profile): HTMLElement {
  const list = element("dl", "facts");
  const fact = (name: string, ...value: (Node | string)[]): void => list.append(element("dt", "", name), element("dd", "", ...value));
  fact("Name", `@${profile.username}`);
  if (profile.bio !== "") {
    const bio = element("span", "bio", profile.bio);
    bio.dir = "auto";
    fact("About", bio);
  }
  if (/^https?:\/\//i.test(profile.avatarUrl)) {
    const link = element("a", "", profile.avatarUrl);
    link.href = profile.avatarUrl;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    fact("Picture", link);
  }
  if (profile.createdAt > 0) fact("Since", dateTime(profile.createdAt).slice(0, 10));
  fact("User ID", element("code", "", profile.userId));
  return list;
}
