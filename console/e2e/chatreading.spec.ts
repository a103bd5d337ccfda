import { expect, test, type Browser } from "@playwright/test";
import { Person, sayMany, token } from "./person.js";
import { Server } from "./server.js";

// One server serves all of these; each test has people and rooms of its own.
test.describe.configure({ mode: "default" });

let server: Server;
test.beforeAll(async () => {
  server = await Server.start();
});
test.afterAll(async () => server.remove());

let people = 0;

async function signUp(browser: Browser, ...names: string[]): Promise<Person[]> {
  return Promise.all(names.map((name) => Person.signUp(browser, server.origin, `${name}_${++people}`)));
}

async function leave(...all: Person[]): Promise<void> {
  await Promise.all(all.map((person) => person.leave()));
}

/** A public room of the first, which the others have joined; each has it open. */
async function meet(name: string, about: string, host: Person, ...guests: Person[]): Promise<string> {
  await host.makeRoom(name, about, true);
  for (const guest of guests) {
    await guest.press("Find");
    await guest.press(`Join ${name}`);
    await expect(guest.title).toHaveText(name);
  }
  return host.roomId;
}

/** Calls /v1 as somebody, as a program would. */
async function call(person: Person, method: string, path: string, body?: object): Promise<Record<string, unknown>> {
  const answer = await fetch(`${server.origin}/v1${path}`, {
    method,
    headers: { Authorization: `Bearer ${await token(server.origin, person.name)}`, "Content-Type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  expect(answer.ok, `${method} ${path}: ${answer.status} ${text}`).toBe(true);
  return (text === "" ? {} : JSON.parse(text)) as Record<string, unknown>;
}

async function messageId(person: Person, room: string, content: unknown): Promise<string> {
  const page = (await call(person, "GET", `/rooms/${room}/messages`)) as { messages: { id: string; content: unknown }[] };
  const found = page.messages.findLast((one) => JSON.stringify(one.content) === JSON.stringify(content));
  return found?.id ?? "";
}

function numbered(words: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${words} ${i + 1}.`);
}

test("a room opens where what others said begins to be unread, however much one has said oneself", async ({ browser }) => {
  const [ann, ben] = (await signUp(browser, "ann", "ben")) as [Person, Person];
  const room = await meet("Jetty", "", ann, ben);
  await ann.makeRoom("Elsewhere", "", false);
  const afterLine = ann.page.locator(".row-unread + .row");

  // What one has said elsewhere moves no read mark. One message is unread: it is at the end.
  await sayMany(server.origin, ann.name, room, numbered("mine", 60));
  await ben.say("one of Ben's");
  await expect(ann.room("Jetty").locator(".badge")).toHaveText("1 unread");
  await ann.open("Jetty");
  await expect(afterLine).toContainText("one of Ben's");
  await expect(afterLine).toBeInViewport();
  await expect(ann.room("Jetty").locator(".badge")).toHaveCount(0);

  // Many are unread. The page has them, as it was told of all; once reloaded, its newest messages do not reach back to the first.
  await ann.open("Elsewhere");
  await sayMany(server.origin, ann.name, room, numbered("mine again", 30));
  await sayMany(server.origin, ben.name, room, numbered("Ben's", 130));
  await expect(ann.room("Jetty").locator(".badge")).toHaveText("99+ unread");
  await ann.open("Jetty");
  await expect(afterLine).toContainText("Ben's 1.");
  await expect(afterLine).toBeInViewport();
  await expect(ann.room("Jetty").locator(".badge")).toHaveText("99+ unread");
  await ann.page.reload();
  await expect(afterLine).toContainText("Ben's 1.");
  await expect(afterLine).toBeInViewport();
  await expect(ann.row("Ben's 130.")).not.toBeInViewport();
  await ann.press(/^Latest ↓/);
  await expect(ann.row("Ben's 130.")).toBeInViewport();
  await expect(ann.room("Jetty").locator(".badge")).toHaveCount(0);
  await leave(ann, ben);
});

test("who reads further up is told how much has come since, on narrow screens too", async ({ browser }) => {
  const [ann, ben] = (await signUp(browser, "ann", "ben")) as [Person, Person];
  const room = await meet("Mole", "", ann, ben);
  await sayMany(server.origin, ann.name, room, numbered("entry", 40));
  await expect(ben.row("entry 40.")).toBeInViewport();
  await expect(ben.room("Mole").locator(".badge")).toHaveCount(0);
  await ben.page.setViewportSize({ width: 360, height: 740 });
  const latest = ben.page.locator("#latest");
  await expect(async () => {
    await ben.page.getByRole("region", { name: "Messages" }).evaluate((box) => (box.scrollTop = 0));
    await expect(latest).toHaveText("Latest ↓", { timeout: 500 });
  }).toPass();
  await sayMany(server.origin, ann.name, room, ["news", "more news"]);
  await expect(latest).toHaveText("Latest ↓ 2 new");
  await latest.click();
  await expect(latest).toBeHidden();
  await expect(ben.row("more news")).toBeInViewport();
  await leave(ann, ben);
});

test("who has edited a message is said, and what it said before", async ({ browser }) => {
  const [ann, ben] = (await signUp(browser, "ann", "ben")) as [Person, Person];
  const room = await meet("Bollard", "", ann, ben);
  await ben.say("Ships are cheap");
  await expect(ann.texts).toHaveText(["Ships are cheap"]);
  await ben.choose("cheap", "Edit");
  await ben.text.fill("Ships are cheap here");
  await ben.text.press("Enter");
  await expect(ben.row("cheap here").getByRole("button", { name: "edited", exact: true })).toBeVisible();

  await call(ann, "PATCH", `/rooms/${room}/messages/${await messageId(ann, room, "Ships are cheap here")}`, { content: "Ships are ships" });
  await ben.row("Ships are ships").getByRole("button", { name: `edited by ${ann.name}` }).click();
  const versions = ben.dialog.getByRole("listitem");
  await expect(versions.locator(".text")).toHaveText(["Ships are cheap", "Ships are cheap here", "Ships are ships"]);
  await expect(versions.locator("small")).toHaveText([/^Written by you,/, /^Edited by you,/, new RegExp(`^Edited by ${ann.name},`)]);
  await ben.press("Close");
  await ben.page.reload();
  await expect(ben.row("Ships are ships").locator(".foot")).toContainText(`edited by ${ann.name}`);
  await ann.choose("Ships are ships", "What it said before");
  await expect(ann.dialog.getByRole("listitem")).toHaveCount(3);
  await leave(ann, ben);
});

test("an object with a text is shown, found and edited as that text", async ({ browser }) => {
  const [ann] = (await signUp(browser, "ann")) as [Person];
  const room = await meet("Crane", "", ann);
  await call(ann, "POST", `/rooms/${room}/messages`, { content: { load: 12 } });
  await call(ann, "POST", `/rooms/${room}/messages`, { content: { text: "Hello from a program" } });
  await expect(ann.page.locator("#rows p.text")).toHaveText(["Hello from a program"]);
  await expect(ann.page.locator("#rows pre.text")).toHaveText(['{\n  "load": 12\n}']);
  await ann.press("Search");
  await ann.page.getByRole("searchbox").fill("program");
  await ann.page.keyboard.press("Enter");
  await expect(ann.page.locator(".found-text")).toHaveText(["Hello from a program"]);
  await ann.page.locator("#aside-close").click();
  await ann.text.press("ArrowUp");
  await expect(ann.text).toHaveValue("Hello from a program");
  await ann.text.fill("Bye from a person");
  await ann.text.press("Enter");
  await expect(ann.page.locator("#rows p.text")).toHaveText(["Bye from a person"]);
  expect(await messageId(ann, room, { text: "Bye from a person" })).not.toBe("");
  await leave(ann);
});

test("what a blocked member says is one line, which can be shown", async ({ browser }) => {
  const [ann, ben] = (await signUp(browser, "ann", "ben")) as [Person, Person];
  const room = await meet("Dock", "", ann, ben);
  await sayMany(server.origin, ben.name, room, numbered("noise", 12));
  await ann.say("Quiet, please");
  await expect(ann.texts).toHaveCount(13);
  await ann.deal(ben.name, "Block");
  await expect(ann.texts).toHaveText(["Quiet, please"]);
  await ben.say("No");
  await expect(ann.page.locator(".row-hidden p")).toHaveText(["12 messages from somebody you blocked.", "1 message from somebody you blocked."]);

  // What is found in it leads to that line.
  await ann.press("Search");
  await ann.page.getByRole("searchbox").fill("noise 7");
  await ann.page.keyboard.press("Enter");
  await ann.page.locator(".found-item").click();
  await expect(ann.row("12 messages")).toBeFocused();
  await ann.row("12 messages").getByRole("button", { name: "Show" }).click();
  await expect(ann.texts).toHaveCount(14);
  await ann.deal(ben.name, "Unblock");
  await expect(ann.said).toContainText(`${ben.name} is not blocked any more.`);
  await leave(ann, ben);
});

test("the message that is edited is marked and brought into sight", async ({ browser }) => {
  const [ann, ben] = (await signUp(browser, "ann", "ben")) as [Person, Person];
  const room = await meet("Slipway", "", ann, ben);
  await ann.say("what I said");
  await expect(ben.texts).toHaveText(["what I said"]);
  await sayMany(server.origin, ben.name, room, numbered("meanwhile", 30));
  await expect(ann.row("meanwhile 30.")).toBeInViewport();
  await expect(ann.row("what I said")).not.toBeInViewport();
  await ann.text.press("ArrowUp");
  await expect(ann.text).toHaveValue("what I said");
  await expect(ann.row("what I said")).toBeInViewport({ ratio: 0.9 });
  await expect(ann.page.locator(".edited-now")).toHaveText(/what I said/);
  await ann.text.press("Escape");
  await expect(ann.page.locator(".edited-now")).toHaveCount(0);
  await leave(ann, ben);
});

test("a long text about a room leaves its members in sight", async ({ browser }) => {
  const [ann, ben] = (await signUp(browser, "ann", "ben")) as [Person, Person];
  await meet("Basin", "ships ".repeat(166), ann, ben);
  await ann.showMembers();
  await expect(ann.member(ben.name)).toBeInViewport();
  await ann.press("More");
  await expect(ann.member(ben.name)).not.toBeInViewport();
  await ann.press("Less");
  await expect(ann.member(ben.name)).toBeInViewport();
  await leave(ann, ben);
});

test("people are found by user ID, and public rooms by their names", async ({ browser }) => {
  const [ann, ben] = (await signUp(browser, "ann", "ben")) as [Person, Person];
  const { userId } = (await call(ben, "GET", "/accounts/me")) as { userId: string };
  await ann.writeTo(userId);
  await expect(ann.title).toHaveText(ben.name);
  await ann.press("New");
  await ann.press("Write to one person");
  await ann.dialog.getByLabel("Name of the person").fill("chat-999999");
  await ann.dialog.getByRole("button", { name: "Write", exact: true }).click();
  await expect(ann.dialog.getByRole("alert")).toHaveText("There is nobody of this name or user ID.");
  await ann.page.keyboard.press("Escape");

  await ann.makeRoom("Grain store", "", true);
  await ann.makeRoom("Wool store", "", true);
  await ben.press("Find");
  await ben.dialog.getByRole("searchbox").fill("STORE wool");
  await expect(ben.dialog.getByRole("listitem")).toHaveText([/Wool store/]);
  await ben.dialog.getByRole("searchbox").fill("no such room");
  await expect(ben.dialog).toContainText("No room of this name.");
  await leave(ann, ben);
});

test("nothing of a person stays over the page when their sign-in ends elsewhere", async ({ browser }) => {
  const [ann] = (await signUp(browser, "ann")) as [Person];
  await ann.makeRoom("Buoy", "", false);
  await ann.showMembers();
  await ann.member(ann.name).getByRole("button").click();
  await expect(ann.page.getByRole("menu")).toBeVisible();
  await call(ann, "DELETE", "/sessions?all=true");
  await expect(ann.status).toHaveText("You were signed out. Sign in again.");
  await expect(ann.page.getByRole("menu")).toHaveCount(0);
  await leave(ann);
});

test("who asks for a code is told what the server says about it", async ({ browser }) => {
  const ann = await Person.at(browser, server.origin, "ann");
  const { page, status } = ann;
  await page.getByRole("radio", { name: "Forgot password" }).check();
  await page.getByLabel("Name", { exact: true }).fill("ann");
  const ask = page.getByRole("button", { name: "Ask for a code" });
  // One server cannot both have a way to send codes and have none.
  const answers = [
    { status: 409, contentType: "application/problem+json", body: JSON.stringify({ code: "A_LATER_ONE", detail: "this server has no way to send codes; ask whoever runs it" }) },
    { status: 202, body: "" },
  ];
  await page.route("**/v1/resets", (route) => route.fulfill(answers.shift()));
  await ask.click();
  await expect(status).toHaveText("This server has no way to send codes; ask whoever runs it.");
  await ask.click();
  await expect(status).toContainText("a code for it was handed on");
  await leave(ann);
});
