import { expect, test, type Browser, type Page } from "@playwright/test";
import { problems } from "./axe.js";
import { Line } from "./line.js";
import { password, Person, sayMany } from "./person.js";
import { Server } from "./server.js";

// One server serves all of these; each test has people and rooms of its own.
test.describe.configure({ mode: "default" });

let server: Server;
test.beforeAll(async () => {
  server = await Server.start();
});
test.afterAll(async () => server.remove());

let people = 0;

/** A name that nobody else has. */
function called(name: string): string {
  return `${name}_${++people}`;
}

async function signUp(browser: Browser, ...names: string[]): Promise<Person[]> {
  return Promise.all(names.map((name) => Person.signUp(browser, server.origin, called(name))));
}

async function leave(...all: Person[]): Promise<void> {
  await Promise.all(all.map((person) => person.leave()));
}

test("three people meet, talk, look after their room, and part", async ({ browser }) => {
  const [ann, ben, cem] = (await signUp(browser, "ann", "ben", "cem")) as [Person, Person, Person];

  await test.step("one makes a public room; one finds it, one is invited", async () => {
    await ann.makeRoom("Harbour", "Ships, tides and coffee", true);
    await ann.say("Is anybody here?");
    await ben.press("Find");
    await ben.press("Join Harbour");
    await expect(ben.texts).toHaveText(["Is anybody here?"]);
    await ann.showMembers();
    await expect(ann.member(ben.name)).toBeVisible();
    await ann.press("Invite");
    await ann.answer("Invite", { "Name of the person": cem.name });
    await cem.open("Harbour");
    await expect(ann.page.locator("#room-sub")).toContainText("3 members");
  });

  await test.step("what is typed and said is seen, and who has read it", async () => {
    await ben.text.pressSequentially("I am");
    await expect(ann.page.locator("#typing")).toHaveText(`${ben.name} is typing …`);
    await ben.say("I am, at the pier");
    await expect(cem.texts).toHaveText(["Is anybody here?", "I am, at the pier"]);
    await expect(ann.texts).toHaveText(["Is anybody here?", "I am, at the pier"]);
    await expect(ann.page.locator("#typing")).toHaveText("");
    await ann.say("Good");
    await expect(ann.row("Good").locator(".readers")).toHaveText(/^Read by (ben\S+ and cem\S+|cem\S+ and ben\S+)$/);
  });

  await test.step("messages are edited and deleted, by their authors and by who may", async () => {
    await ben.choose("at the pier", "Edit");
    await ben.text.fill("I am, at the second pier");
    await ben.text.press("Enter");
    await expect(ann.row("second pier").locator(".foot")).toContainText("edited");
    await cem.say("Buy cheap ships now");
    await expect(ben.row("cheap ships")).toBeVisible();
    await ann.choose("cheap ships", "Delete");
    await ann.answer("Delete");
    await expect(ben.page.locator("#rows .gone")).toHaveText(`Deleted by ${ann.name}.`);
    await expect(cem.page.locator("#rows .gone")).toHaveText(`Deleted by ${ann.name}.`);
    await cem.row("second pier").hover();
    await cem.row("second pier").getByRole("button").last().click();
    await expect(cem.page.getByRole("menuitem")).toHaveText(["Copy the text", "What it said before", "Who has read it", `About ${ben.name}`]);
    await cem.page.keyboard.press("Escape");
  });

  await test.step("two talk alone; what is said elsewhere meanwhile is counted", async () => {
    await cem.writeTo(ann.name);
    await expect(cem.title).toHaveText(ann.name);
    await cem.say("Between us: who is Ben?");
    await expect(ann.room(cem.name).locator(".badge")).toHaveText("1 unread");
    await ben.say("first");
    await ben.say("second");
    await expect(cem.room("Harbour").locator(".badge")).toHaveText("2 unread");
    await expect(cem.page).toHaveTitle(/^\(2\) ann/);
    await cem.open("Harbour");
    await expect(cem.page.locator(".row-unread")).toHaveCount(1);
    await expect(cem.room("Harbour").locator(".badge")).toHaveCount(0);
    await ann.open(cem.name);
    await expect(ann.texts).toHaveText(["Between us: who is Ben?"]);
    await expect(cem.page).toHaveTitle(/^Harbour/);
    await ann.open("Harbour");
  });

  await test.step("what was said is found by its words", async () => {
    await ben.press("Search");
    await ben.page.getByRole("searchbox").fill("PIER second");
    await ben.page.keyboard.press("Enter");
    await expect(ben.page.locator(".found-item")).toHaveCount(1);
    await expect(ben.page.locator(".found mark")).toHaveText(["second", "pier"]);
    await ben.page.locator(".found-item").click();
    await expect(ben.row("second pier")).toBeFocused();
  });

  await test.step("members get roles, and are shown out", async () => {
    await ann.deal(ben.name, "Make moderator");
    await expect(ann.member(ben.name).locator(".tag")).toHaveText("moderator");
    await ben.deal(cem.name, "Ban from the room");
    await ben.answer("Ban");
    await expect(cem.said).toContainText(`${ben.name} banned you from Harbour.`);
    await expect(cem.room("Harbour")).toHaveCount(0);
    await cem.press("Find");
    await cem.press("Join Harbour");
    await expect(cem.dialog.locator(".form-problem")).toContainText("banned");
    await cem.page.keyboard.press("Escape");
    await ann.press("Banned");
    await ann.dialog.getByLabel(cem.name).check();
    await ann.answer("Unban");
    await cem.press("Find");
    await cem.press("Join Harbour");
    await expect(cem.texts).toHaveCount(5);
  });

  await test.step("who is blocked is not heard any more", async () => {
    await cem.deal(ben.name, "Block");
    await expect(cem.said).toContainText(`You have blocked ${ben.name}`);
    await expect(cem.row("2 messages from somebody you blocked.")).toBeVisible();
    await ben.press("New");
    await ben.press("Write to one person");
    await ben.dialog.getByLabel("Name of the person").fill(cem.name);
    await ben.dialog.getByRole("button", { name: "Write", exact: true }).click();
    await expect(ben.dialog.locator(".form-problem")).toHaveText("This person does not want to hear from you.");
    await ben.page.keyboard.press("Escape");

    await cem.open(ann.name);
    await ann.deal(cem.name, "Profile");
    await ann.dialog.getByRole("button", { name: "Block", exact: true }).click();
    await expect(ann.dialog.getByRole("button", { name: "Unblock" })).toBeVisible();
    await ann.page.keyboard.press("Escape");
    await cem.say("Are you there?");
    await expect(cem.page.locator(".failure")).toContainText(`Not sent. ${ann.name} does not want to hear from you, or is not here any more.`);
    await ann.account("Blocked people");
    await ann.dialog.getByRole("button", { name: /^Unblock/ }).click();
    await expect(ann.dialog).toContainText("You have blocked nobody.");
    await ann.page.keyboard.press("Escape");
    await cem.press("Send again");
    await expect(cem.page.locator(".draft")).toHaveCount(0);
    await expect(ann.room(cem.name).locator(".badge")).toHaveText("1 unread");
  });

  await test.step("the owner hands the room over and leaves", async () => {
    await ann.deal(ben.name, "Hand the room over");
    await ann.answer("Hand over");
    await expect(ben.member(ben.name).locator(".tag")).toHaveText("owner");
    await ann.press("Leave");
    await ann.answer("Leave");
    await expect(ann.room("Harbour")).toHaveCount(0);
    await expect(ben.page.locator("#room-sub")).toContainText("2 members");
    await ben.press("Delete room");
    await ben.answer("Delete");
    await expect(cem.said).toContainText("The room Harbour was deleted.");
  });
  await leave(ann, ben, cem);
});

test("a lost connection loses nothing: what was missed is filled in, what was written is sent once", async ({ browser }) => {
  const line = await Line.to(server.origin);
  const [ann] = (await signUp(browser, "ann")) as [Person];
  const ben = await Person.signUp(browser, line.origin, called("ben"));
  await ann.makeRoom("Lighthouse", "", true);
  await ann.say("before");
  await ben.press("Find");
  await ben.press("Join Lighthouse");
  await expect(ben.texts).toHaveText(["before"]);

  line.break();
  await expect(ben.page.locator("#line-note")).toContainText("What you write is sent when the connection is back.");
  for (const text of ["one", "two", "three"]) await ann.say(text);
  await expect(ann.page.locator(".draft")).toHaveCount(0);
  await ann.choose("before", "Edit");
  await ann.text.fill("before, corrected");
  await ann.text.press("Enter");
  await ben.say("from the dark");
  await ben.say("and again");
  await expect(ben.page.locator(".draft .foot")).toHaveText(["Sent when the connection is back", "Sent when the connection is back"]);

  line.mend();
  const all = ["before, corrected", "one", "two", "three", "from the dark", "and again"];
  await expect(ben.texts).toHaveText(all, { timeout: 20_000 });
  await expect(ben.page.locator(".draft")).toHaveCount(0);
  await expect(ann.texts).toHaveText(all);
  await leave(ann, ben);
  await line.remove();
});

test("a message whose answer was lost is stored once", async ({ browser }) => {
  const line = await Line.to(server.origin);
  const ben = await Person.signUp(browser, line.origin, called("ben"));
  await ben.makeRoom("Buoy", "", false);
  // The page sends it, and hears nothing of it before the connection is cut.
  let swallowed = 0;
  await ben.page.routeWebSocket(/\/ws$/, (socket) => {
    const far = socket.connectToServer();
    far.onMessage((text) => {
      if (swallowed === 0 && String(text).includes('"ROOM_SENT"')) {
        swallowed++;
        line.cut();
      } else {
        socket.send(text);
      }
    });
  });
  await ben.page.reload();
  await ben.online();
  await expect(ben.title).toHaveText("Buoy");
  await ben.say("only once");
  await expect(ben.page.locator(".row")).toHaveCount(1);
  await expect(ben.page.locator(".draft")).toHaveCount(0, { timeout: 20_000 });
  expect(swallowed).toBe(1);
  await expect(ben.texts).toHaveText(["only once"]);
  await ben.page.reload();
  await expect(ben.texts).toHaveText(["only once"]);
  await leave(ben);
  await line.remove();
});

test("scrolling up brings the history, and what is read stays where it is", async ({ browser }) => {
  const [ann] = (await signUp(browser, "ann")) as [Person];
  await ann.makeRoom("Logbook", "", false);
  const room = ann.roomId;
  await sayMany(server.origin, ann.name, room, Array.from({ length: 180 }, (_, i) => `entry ${i + 1} ${i % 7 === 0 ? "with a second line\nhere" : ""}`));
  await expect(ann.row("entry 180 ")).toBeInViewport();
  const scroller = ann.page.getByRole("region", { name: "Messages" });
  const top = async (text: string): Promise<number> => (await ann.row(text).boundingBox())?.y ?? Number.NaN;

  // The page before is asked for near the edge; the entry that is read does not move.
  await ann.page.reload();
  await expect(ann.row("entry 180 ")).toBeInViewport();
  await expect(ann.texts).toHaveCount(50);
  await scroller.evaluate((box) => (box.scrollTop = 10));
  const before = await top("entry 132 ");
  await expect(ann.texts).toHaveCount(100);
  expect(Math.abs((await top("entry 132 ")) - before)).toBeLessThan(2);

  // New messages do not move it either.
  await sayMany(server.origin, ann.name, room, ["news"]);
  await expect(ann.page.getByRole("button", { name: "Latest ↓" })).toBeVisible();
  expect(Math.abs((await top("entry 132 ")) - before)).toBeLessThan(2);

  await expect(async () => {
    await scroller.evaluate((box) => (box.scrollTop = 0));
    await expect(ann.page.locator("#older")).toHaveText("This is where the room begins.", { timeout: 500 });
  }).toPass();
  await expect(ann.texts).toHaveCount(181);
  await ann.press("Latest ↓");
  await expect(ann.row("news")).toBeInViewport();

  // From what was found far back the way leads to the end again.
  await ann.page.reload();
  await ann.press("Search");
  await ann.page.getByRole("searchbox").fill("entry 20");
  await ann.page.keyboard.press("Enter");
  await ann.page.locator(".found-item").click();
  await expect(ann.row("entry 20 ")).toBeInViewport();
  await expect(ann.row("news")).toHaveCount(0);
  await ann.press("Latest ↓");
  await expect(ann.row("news")).toBeInViewport();
  await leave(ann);
});

test("a reload stays signed in and in its room; a copy of the tab does not end the sign-in", async ({ browser }) => {
  const [ann] = (await signUp(browser, "ann")) as [Person];
  await ann.makeRoom("Quay", "", false);
  await ann.say("still here");
  await expect(ann.page.locator(".draft")).toHaveCount(0);
  await ann.page.reload();
  await ann.online();
  await expect(ann.texts).toHaveText(["still here"]);

  const opened = ann.context.waitForEvent("page");
  await ann.page.evaluate(() => void window.open(location.href)); // takes the session storage along
  const copy = await opened;
  await expect(copy.getByLabel("Password", { exact: true })).toBeVisible();
  await ann.page.reload();
  await ann.online();
  const kept = await ann.page.evaluate(() => [JSON.stringify(localStorage), document.cookie]);
  expect(kept).toEqual(["{}", ""]);
  await leave(ann);
});

test("the door says what is wrong, in place", async ({ browser }) => {
  const ann = await Person.signUp(browser, server.origin, called("ann"));
  const other = await Person.at(browser, server.origin, ann.name);
  const { page, status } = other;
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(status).toHaveText("Write your name.");
  await expect(page.getByLabel("Name", { exact: true })).toBeFocused();
  await page.getByLabel("Name", { exact: true }).fill(ann.name);
  await page.getByLabel("Password", { exact: true }).fill("wrong password");
  await page.keyboard.press("Enter");
  await expect(status).toHaveText("Name or password is wrong.");
  await page.getByRole("radio", { name: "New account" }).check();
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.keyboard.press("Enter");
  await expect(status).toHaveText("Somebody has this name already.");
  await page.getByLabel("Name", { exact: true }).fill("x");
  await page.keyboard.press("Enter");
  await expect(status).toContainText("3 to 20");
  await expect(page.getByLabel("Name", { exact: true })).toHaveAttribute("aria-invalid", "true");
  await page.getByRole("radio", { name: "Forgot password" }).check();
  await page.getByLabel("Name", { exact: true }).fill(ann.name);
  await page.getByRole("button", { name: "Ask for a code" }).click();
  await expect(status).not.toBeEmpty();
  await page.getByLabel("Code").fill("not a code");
  await page.getByLabel("New password").fill(password);
  await page.getByRole("button", { name: "Set password" }).click();
  await expect(status).toHaveText("The code is wrong, was used, or is too old. Ask for another one.");
  await expect(page.getByLabel("Code")).toBeFocused();
  await leave(ann, other);
});

test("profile, password, and signing out here and everywhere", async ({ browser }) => {
  const [ann] = (await signUp(browser, "ann")) as [Person];
  await ann.account("Profile");
  await ann.answer("Save", { "Name to show": "Captain Ann", "About you": "At sea" });
  await expect(ann.page.locator("#me")).toContainText("Captain Ann");

  const second = await Person.at(browser, server.origin, ann.name);
  await second.enter();
  await ann.account("Where you are signed in");
  await expect(ann.dialog.getByRole("listitem")).toHaveCount(2);
  await ann.press("Close");

  await ann.account("Change password");
  await ann.dialog.getByLabel("Password until now").fill("not this one");
  await ann.dialog.getByLabel("New password").fill("a better one");
  await ann.dialog.getByRole("button", { name: "Change" }).click();
  await expect(ann.dialog.getByRole("alert")).toHaveText("The password until now is wrong.");
  await ann.answer("Change", { "Password until now": password });
  await expect(second.status).toHaveText("You were signed out. Sign in again.");
  await ann.makeRoom("After the change", "", false);

  await second.enter("Sign in", "a better one");
  await second.account("Sign out everywhere");
  await expect(second.status).toHaveText("Signed out everywhere.");
  await expect(ann.status).toHaveText("You were signed out. Sign in again.");
  await ann.page.reload();
  await expect(ann.page.getByLabel("Password", { exact: true })).toBeVisible();

  await ann.enter("Sign in", "a better one");
  await ann.account("Sign out");
  await expect(ann.status).toHaveText("Signed out.");
  expect(await ann.page.evaluate(() => sessionStorage.length)).toBe(0);

  await ann.enter("Sign in", "a better one");
  await ann.account("Delete account");
  await ann.answer("Delete", { Password: "a better one" });
  await expect(ann.status).toHaveText("The account is deleted.");
  await leave(ann, second);
});

test("what strangers write is shown as the text that it is", async ({ browser }) => {
  const [ann, ben] = (await signUp(browser, "ann", "ben")) as [Person, Person];
  const markup = `<img src=x onerror="window.hit=1"><script>window.hit=1</script>`;
  await ann.account("Profile");
  await ann.answer("Save", { "Name to show": markup, "About you": markup, "Address of a picture": "https://example.org/me.png" });
  await ann.makeRoom(markup, markup, true);
  const hostile = [markup, "javascript:window.hit=1", "\u202Egnp.exe\u202C ‏عربي", "see https://example.org/?a=<b>"];
  for (const text of hostile) await ann.say(text);
  await ben.press("Find");
  await ben.dialog.getByRole("button", { name: `Join ${markup}` }).click();
  await expect(ben.texts).toHaveText(hostile);
  await expect(ben.page.locator("#rows a")).toHaveCount(1);
  await expect(ben.page.locator("#rows a")).toHaveAttribute("rel", "noopener noreferrer");
  await ben.showMembers();
  await ben.page.locator(".who-name").first().click();
  await expect(ben.dialog.locator(".bio")).toHaveText(markup);
  for (const { page } of [ann, ben]) {
    expect(await page.locator("main :is(img, script, iframe, svg), dialog :is(img, script)").count()).toBe(0);
    expect(await page.evaluate(() => "hit" in window)).toBe(false);
  }
  await leave(ann, ben);
});

test("everything can be done with the keyboard", async ({ browser }) => {
  const [ann] = (await signUp(browser, "ann")) as [Person];
  const { page } = ann;
  const focused = (): Promise<string> => page.evaluate(() => document.activeElement?.ariaLabel ?? document.activeElement?.textContent ?? "");
  const tabTo = async (wanted: RegExp, key = "Tab"): Promise<void> => {
    for (let n = 0; n < 40 && !wanted.test(await focused()); n++) await page.keyboard.press(key);
    expect(await focused()).toMatch(wanted);
  };
  await tabTo(/^New$/);
  await page.keyboard.press("Enter");
  await tabTo(/^Make a room$/);
  await page.keyboard.press("Enter");
  await page.keyboard.type("Galley");
  await page.keyboard.press("Enter");
  await expect(ann.text).toBeFocused();
  await page.keyboard.type("soup");
  await page.keyboard.press("Enter");
  await expect(ann.page.locator("#rows .row:not(.draft)")).toHaveCount(1);
  await page.keyboard.press("ArrowUp");
  await expect(ann.text).toHaveValue("soup");
  await page.keyboard.type(" of the day");
  await page.keyboard.press("Enter");
  await expect(ann.texts).toHaveText(["soup of the day"]);
  await tabTo(/^What to do with/, "Shift+Tab");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("menuitem").first()).toBeFocused();
  await page.keyboard.press("End");
  await page.keyboard.press("Enter");
  await tabTo(/^Delete$/);
  await page.keyboard.press("Enter");
  await expect(page.locator("#rows .gone")).toHaveText("Deleted.");
  await tabTo(/^Members$/, "Shift+Tab");
  await page.keyboard.press("Enter");
  await expect(page.locator("#aside-title")).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("button", { name: "Members" })).toBeFocused();
  await leave(ann);
});

test("looks right and is accessible, light and dark, wide and narrow", async ({ browser }, info) => {
  test.slow();
  const [ann, ben] = (await signUp(browser, "ann", "ben")) as [Person, Person];
  await ann.account("Profile");
  await ann.answer("Save", { "Name to show": "Ann of the Long Harbour Wall" });
  await ann.makeRoom("Harbour", "Ships, tides and coffee", true);
  await ben.press("Find");
  await ben.press("Join Harbour");
  for (const text of ["Good morning! Is the second pier free from nine?", "We come with the tide, and with two boats."]) await ann.say(text);
  await ben.say("It is. See https://example.org/tides for the rest of the week, and mind the bar: https://example.org/a-very-long-address/that-does-not-end/and-goes-on-and-on/for-ever.");
  await ben.say("y".repeat(120));
  await expect(ann.texts).toHaveCount(4);
  await ann.choose("two boats", "Edit");
  await ann.text.fill("We come with the tide, and with three boats.");
  await ann.text.press("Enter");
  await ben.say("oops");
  await ben.choose("oops", "Delete");
  await ben.answer("Delete");
  await ben.writeTo(ann.name);
  await ben.say("Coffee?");
  await expect(ann.room(ben.name).locator(".badge")).toHaveText("1 unread");
  await ann.say("Thanks, until then.");
  await ann.text.fill("Half a sen");

  const door = await Person.at(browser, server.origin, "nobody");
  await door.page.getByLabel("Name", { exact: true }).fill("nobody");
  await door.page.getByLabel("Password", { exact: true }).fill("nothing at all");
  await door.page.keyboard.press("Enter");
  await expect(door.status).not.toHaveText("Asking the server …");

  const wide = { width: 1280, height: 800 };
  const narrow = { width: 390, height: 844 };
  for (const [colorScheme, size, name] of [["light", wide, "wide"], ["light", narrow, "narrow"], ["dark", narrow, "narrow"], ["dark", wide, "wide"]] as const) {
    const look = async ({ page }: Person, what: string): Promise<void> => {
      await page.screenshot({ path: info.outputPath(`${colorScheme}-${name}-${what}.png`) });
      await fits(page, `${what}, ${name}`);
      // The dark narrow page has the colours of the wide one, and all else of the light one.
      if (colorScheme === "light" || size === wide) expect(await problems(page, colorScheme), `${what}, ${name}, ${colorScheme}`).toEqual([]);
    };
    for (const { page } of [door, ann]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize(size);
    }
    await look(door, "door");
    if (size === narrow) await look(ann, "room");
    await ann.showMembers();
    await expect(ann.member(ben.name)).toBeVisible();
    await look(ann, "members");
    await ann.page.locator("#aside-close").click();
    await ann.press("Search");
    await ann.page.getByRole("searchbox").fill("tide");
    await ann.page.keyboard.press("Enter");
    await expect(ann.page.locator(".found-item")).toHaveCount(1);
    await look(ann, "search");
    await ann.page.locator("#aside-close").click();
    if (size === narrow) {
      await ann.page.locator("#back").click();
      await look(ann, "rooms");
    }
    await ann.page.locator("#me").click();
    if (size === wide) await look(ann, "account");
    await ann.page.keyboard.press("Escape");
    await ann.press("New");
    await ann.press("Make a room");
    if (size === wide) await look(ann, "new-room");
    await ann.page.keyboard.press("Escape");
    if (size === narrow) await ann.open("Harbour");
  }

  // With the least room, and where what is beside the room takes its place.
  for (const size of [{ width: 320, height: 560 }, { width: 900, height: 420 }]) {
    for (const { page } of [door, ann]) await page.setViewportSize(size);
    await fits(door.page, `door, ${size.width}`);
    await fits(ann.page, `room, ${size.width}`);
    await ann.showMembers();
    await ann.page.screenshot({ path: info.outputPath(`${size.width}-members.png`) });
    await fits(ann.page, `members, ${size.width}`);
    await ann.page.locator("#aside-close").click();
    await expect(ann.text).toBeInViewport();
    await ann.page.screenshot({ path: info.outputPath(`${size.width}-room.png`) });
  }
  await leave(ann, ben, door);
});

async function fits(page: Page, what: string): Promise<void> {
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(overflow, `${what} scrolls sideways`).toBeLessThanOrEqual(0);
}
