import type { Client } from "@switchboard/client";
import { connected, Desk } from "./desk.js";
import { expect, test } from "./fixtures.js";
import { Tab } from "./tab.js";

test("who connects is listed, and who leaves is not any more", async ({ context, server }) => {
  const desk = await Desk.open(context, server, "#/users");
  await expect(desk.card("Connected users of ANZ")).toContainText("Nobody of ANZ is connected.");
  const seven = await connected(server, "ANZ-7");
  const other = await connected(server, "ANZ-7");
  const eight = await connected(server, "ANZ-8");
  const rows = desk.rows("Connected users of ANZ");
  await expect(rows).toHaveText([/^ANZ-7\s*2\s*/, /^ANZ-8\s*1\s*/]);
  await expect(desk.page.locator(".list-count")).toHaveText("2 users");
  seven.close();
  other.close();
  await expect(rows).toHaveText([/^ANZ-8/]);
  eight.close();
});

test("many users come in pages, and a page is not lost while they come and go", async ({ context, server }) => {
  test.slow();
  const clients: Client[] = [];
  for (let n = 100; n < 350; n++) clients.push(await connected(server, `ANZ-${n}`));
  const desk = await Desk.open(context, server, "#/users");
  const rows = desk.rows("Connected users of ANZ");
  await expect(rows).toHaveCount(100);
  await expect(desk.page.locator(".list-count")).toHaveText("Page 1, 100 users on it");
  const [previous, next] = ["Previous", "Next"].map((name) => desk.page.getByRole("button", { name }));
  await expect(previous ?? rows).toBeDisabled();
  await next?.click();
  await expect(rows.first()).toContainText("ANZ-200");
  await next?.click();
  await expect(rows).toHaveCount(50);
  await expect(desk.page.locator(".list-count")).toHaveText("Page 3, 50 users on it");
  await expect(next ?? rows).toBeDisabled();
  clients[249]?.close(); // ANZ-349, on this page
  clients[0]?.close(); // ANZ-100, on the first
  await expect(rows).toHaveCount(49);
  await previous?.click();
  await previous?.click();
  await expect(rows.first()).toContainText("ANZ-101");
  await expect(rows).toHaveCount(100);
  for (const client of clients) client.close();
});

test("a user is found by ID, or by number alone, connected or not", async ({ context, server }) => {
  const desk = await Desk.open(context, server, "#/users");
  const find = desk.page.getByRole("search").getByLabel("User ID");
  await find.fill("42");
  await find.press("Enter");
  await expect(desk.title).toHaveText("ANZ-42");
  await expect(desk.page.locator(".presence")).toHaveText("Not connected");
  await expect(desk.card("Sessions")).toContainText("Not connected.");
  await expect(desk.card("Mailbox")).toContainText("Messages0");
  await desk.page.getByRole("link", { name: "All users" }).click();
  await find.fill("no user ID");
  await find.press("Enter");
  await expect(desk.page.locator(".freshness")).toContainText("INVALID_REQUEST");
});

test("sessions of a user are closed one by one, and all at once", async ({ context, server }) => {
  const tab = await Tab.user("ANZ-7", context, server.origin);
  const clients = [await connected(server, "ANZ-7", { reconnect: false }), await connected(server, "ANZ-7", { reconnect: false })];
  const desk = await Desk.open(context, server, "#/users/ANZ-7");
  await expect(desk.rows("Sessions")).toHaveCount(3);
  await expect(desk.page.locator(".presence")).toHaveText("Online, 3 sessions");
  await expect(desk.rows("Sessions").first()).toContainText("websocket");
  await expect(desk.rows("Sessions").first()).toContainText("127.0.0.1");
  await desk.rows("Sessions").first().getByRole("button", { name: /^Close session/ }).click();
  const dialog = desk.page.getByRole("dialog", { name: "Close this session?" });
  await expect(dialog.getByRole("button", { name: "Cancel" })).toBeFocused(); // a stray Enter does no harm
  await desk.page.keyboard.press("Escape");
  await expect(dialog).toHaveCount(0);
  await expect(desk.rows("Sessions")).toHaveCount(3);
  await desk.rows("Sessions").first().getByRole("button", { name: /^Close session/ }).click();
  await desk.confirm("Close session");
  await expect(desk.said).toContainText("Closed a session of ANZ-7.");
  await expect(desk.rows("Sessions")).toHaveCount(2);
  await expect(tab.status).toContainText(/closed/i);
  await desk.page.getByRole("button", { name: "Close all" }).click();
  await desk.confirm("Close all");
  await expect(desk.said).toContainText("Closed 2 sessions of ANZ-7.");
  await expect(desk.card("Sessions")).toContainText("Not connected.");
  for (const client of clients) client.close();
});

test("what waits is counted, looked at when asked for, byte for byte, and cleared after a question", async ({ context, server }) => {
  const content = '{"n": 12345678901234567890, "half": 0.50, "e": "\\u0041"}';
  for (let n = 0; n < 30; n++) await server.call("POST", "/messages", { from: "ANZ-1", to: "ANZ-9", content: n });
  await connected(server, "ANZ-1").then((client) => {
    client.send({ to: "ANZ-9", contentText: content });
    return new Promise((resolve) => setImmediate(resolve)).then(() => client);
  });
  const desk = await Desk.open(context, server, "#/users/ANZ-9");
  const mailbox = desk.card("Mailbox");
  await expect(mailbox).toContainText("Messages31");
  await expect(mailbox.locator("details")).toHaveCount(0); // other people's mail
  await desk.page.getByRole("button", { name: "Look inside" }).click();
  await expect(mailbox.locator("details")).toHaveCount(25);
  await expect(mailbox).toContainText("The oldest 25 messages.");
  await desk.page.getByRole("button", { name: "Show more" }).click();
  await expect(mailbox.locator("details")).toHaveCount(31);
  await mailbox.locator("summary").last().click();
  await expect(mailbox.locator("pre")).toContainText('"n": 12345678901234567890,\n      "half": 0.50,\n      "e": "\\u0041"', { useInnerText: true });
  await expect(mailbox.locator(".mail-about")).toContainText(/Stored \d{4}-.*, expires \d{4}-.*, ID [0-9a-f-]{36}/);

  await desk.page.getByRole("button", { name: "Clear" }).click();
  await expect(desk.page.getByRole("dialog")).toContainText("31 messages for ANZ-9 will be gone for good");
  await desk.confirm("Cancel");
  await expect(mailbox).toContainText("Messages31");
  await desk.page.getByRole("button", { name: "Clear" }).click();
  await desk.confirm("Clear mailbox");
  await expect(desk.said).toContainText("Removed 31 messages from the mailbox of ANZ-9.");
  await expect(mailbox).toContainText("Messages0");
  await expect(mailbox.locator("details")).toHaveCount(0);
  await expect(desk.page.getByRole("button", { name: "Clear" })).toBeDisabled();
});

test("all sessions of the app are listed, and lead to their users", async ({ context, server }) => {
  const clients = await Promise.all(["ANZ-1", "ANZ-2", "ANZ-2"].map((user) => connected(server, user, { reconnect: false })));
  const desk = await Desk.open(context, server, "#/sessions");
  const rows = desk.rows("Sessions of ANZ");
  await expect(rows).toHaveText([/^ANZ-1/, /^ANZ-2/, /^ANZ-2/]);
  await rows.first().getByRole("button", { name: /^Close session .* of ANZ-1$/ }).click();
  await desk.confirm("Close session");
  await expect(rows).toHaveText([/^ANZ-2/, /^ANZ-2/]);
  await rows.first().getByRole("link", { name: "ANZ-2" }).click();
  await expect(desk.title).toHaveText("ANZ-2");
  await expect(desk.rows("Sessions")).toHaveCount(2);
  for (const client of clients) client.close();
});

test("rows stay where they are while the list is brought up to date: the focus is not lost", async ({ context, server }) => {
  const clients = [await connected(server, "ANZ-5")];
  const desk = await Desk.open(context, server, "#/sessions");
  const five = desk.page.getByRole("button", { name: /of ANZ-5$/ });
  await five.focus();
  clients.push(await connected(server, "ANZ-4"), await connected(server, "ANZ-6"));
  await expect(desk.rows("Sessions of ANZ")).toHaveText([/^ANZ-4/, /^ANZ-5/, /^ANZ-6/]);
  await expect(five).toBeFocused();
  for (const client of clients) client.close();
});

test("a client of server-sent events is listed as one, and closed like any other", async ({ context, server }) => {
  const leaving = new AbortController();
  const stream = await fetch(`${server.origin}/v1/events?appId=app-id-343&userId=ANZ-5`, { signal: leaving.signal });
  expect(stream.status).toBe(200);
  const desk = await Desk.open(context, server, "#/sessions");
  const row = desk.rows("Sessions of ANZ");
  await expect(row).toContainText("sse");
  await row.getByRole("button", { name: /^Close session/ }).click();
  await desk.confirm("Close session");
  await expect(desk.card("Sessions of ANZ")).toContainText("There are no sessions of ANZ.");
  leaving.abort();
});
