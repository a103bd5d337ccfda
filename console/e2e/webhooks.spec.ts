import { connected, Desk } from "./desk.js";
import { expect, test } from "./fixtures.js";
import type { Receiver } from "./receiver.js";

/** The demo's app with a webhook that hears of sessions, tried again for a short while only. */
function settings(receiver: Receiver, limits = ""): string {
  return `
apps:
  - appName: ANZ
    appId: app-id-343
    authEnabled: false
    webhooks:
      - name: backend
        url: ${receiver.url}
        secret: 0123456789abcdef0123456789abcdef
        events: [connected, disconnected, delivered]
        allowPrivate: true
limits: {${limits}}
`;
}

test("a receiver that fails is seen to fail, with the reason, and to recover; nothing is lost", async ({ context, boot, receiver }) => {
  const server = await boot(settings(receiver));
  const desk = await Desk.open(context, server, "#/webhooks");
  const row = desk.rows("Webhooks of ANZ");
  await expect(row).toContainText("idle");
  await expect(row).toContainText(receiver.url);

  receiver.fail(500, "the database is on fire");
  const clients = [];
  for (let n = 1; n <= 8; n++) clients.push(await connected(server, `ANZ-${n}`, { reconnect: false }));
  await expect(row).toContainText("failing", { timeout: 30_000 });
  await expect(row).toContainText("500");
  await expect(row).toContainText("the database is on fire");
  await expect(row.getByRole("cell").nth(2)).toHaveText(/^[1-9]/);

  await row.getByRole("link", { name: "backend" }).click();
  const about = desk.card("How it goes");
  await expect(desk.page.locator(".state-line")).toHaveText("failing");
  await expect(about).toContainText(/Waiting\s*8 events/);
  await expect(about).toContainText("the database is on fire");
  await expect(about).toContainText(/users? held up/);
  await expect(desk.card("History")).toContainText("No event has ended yet.");

  await desk.page.getByRole("button", { name: "Send a test" }).click();
  await expect(about.locator(".tested")).toContainText(/^The test failed after \d+ ms: .*500.*the database is on fire/);

  receiver.recover();
  await desk.page.getByRole("button", { name: "Send a test" }).click();
  await expect(about.locator(".tested")).toHaveText(/^The test was taken with status 204 after \d+ ms\.$/);
  await expect(desk.page.locator(".state-line")).toHaveText("ok", { timeout: 60_000 });
  await expect(about).toContainText(/Waiting\s*0/, { timeout: 60_000 });
  await expect(desk.rows("History")).toHaveCount(8 + 0, { timeout: 30_000 });
  await expect(desk.rows("History").first()).toContainText("delivered");
  const heard = new Set(receiver.posted.filter(({ body }) => body.type === "connected").map(({ body }) => String(body.data["userId"])));
  expect([...heard].sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((n) => `ANZ-${n}`));
  await desk.go("Overview");
  await expect(desk.page.getByRole("row", { name: /^Webhook events delivered/ }).getByRole("cell").last()).not.toHaveText("0");
  await expect(desk.page.getByRole("row", { name: /^Webhook attempts failed/ }).getByRole("cell").last()).not.toHaveText("0");
  for (const client of clients) client.close();
});

test("what was given up is found in the history, laid out, and replayed", async ({ context, boot, receiver }) => {
  receiver.fail(503, "closed for good");
  const server = await boot(settings(receiver, "webhookRetry: 2s"));
  const client = await connected(server, "ANZ-7", { reconnect: false });
  const desk = await Desk.open(context, server, "#/webhooks/backend?app=ANZ");
  const rows = desk.rows("History");
  await expect(rows).toHaveText([/^connected\s*ANZ-7.*given up.*closed for good/s], { timeout: 30_000 });
  await rows.locator("summary").click();
  await expect(rows.locator("pre")).toContainText('"type": "connected"');
  await expect(rows.locator("pre")).toContainText('"userId": "ANZ-7"');

  const filter = desk.page.getByRole("navigation", { name: "Which events" });
  await filter.getByRole("link", { name: "Delivered" }).click();
  await expect(desk.page).toHaveURL(/state=delivered/);
  await expect(desk.card("History")).toContainText("No event has ended yet.");
  await filter.getByRole("link", { name: "Given up" }).click();
  await expect(rows).toHaveCount(1);

  receiver.recover();
  await desk.page.getByRole("button", { name: "Replay …" }).click();
  const dialog = desk.page.getByRole("dialog", { name: "Replay events of backend" });
  await expect(dialog.getByRole("combobox", { name: "Events" })).toHaveValue("failed");
  await dialog.getByLabel("Ended from").fill("2020-01-01T00:00:00");
  await dialog.getByLabel("to", { exact: true }).fill("2019-01-01T00:00:00");
  await dialog.getByRole("button", { name: "Replay" }).click();
  await expect(dialog).toContainText("INVALID_REQUEST");
  await dialog.getByLabel("to", { exact: true }).fill("");
  await dialog.getByRole("button", { name: "Replay" }).click();
  await expect(desk.said).toContainText("Queued 1 event again.");
  await filter.getByRole("link", { name: "Delivered" }).click();
  await expect(rows).toHaveText([/^connected\s*ANZ-7.*delivered/s], { timeout: 20_000 });
  const ids = receiver.posted.map(({ headers }) => headers["webhook-id"]);
  expect(new Set(ids).size).toBe(1); // it kept its ID
  client.close();
});

test("long histories come in pages, and an app without webhooks says so", async ({ context, boot, receiver }) => {
  const server = await boot(settings(receiver));
  const client = await connected(server, "ANZ-1", { reconnect: false });
  for (let n = 0; n < 120; n++) client.send({ to: "ANZ-1", content: n, reference: `message ${n}` });
  await expect.poll(() => receiver.posted.length, { timeout: 30_000 }).toBe(121);
  const desk = await Desk.open(context, server, "#/webhooks/backend?app=ANZ&state=delivered");
  const rows = desk.rows("History");
  await expect(rows).toHaveCount(50);
  await expect(rows.first()).toContainText("delivered");
  await desk.page.getByRole("button", { name: "Next" }).click();
  await expect(desk.page.locator(".list-count")).toHaveText("Page 2, 50 events on it");
  await desk.page.getByRole("button", { name: "Next" }).click();
  await expect(rows).toHaveCount(21);
  await expect(rows.last()).toContainText("connected");
  await desk.page.goto(`${server.origin}/operator#/webhooks/none?app=ANZ`);
  await expect(desk.page.locator(".freshness").first()).toContainText("NOT_FOUND");
  client.close();
});

test("a key that may only look cannot replay or test", async ({ context, boot, receiver }) => {
  const server = await boot(settings(receiver));
  const { key } = await server.makeKey("looks", "ANZ", ["webhooks:read"]);
  const desk = await Desk.open(context, server, "#/webhooks/backend", key);
  await expect(desk.page.locator(".state-line")).toHaveText("idle");
  for (const name of ["Send a test", "Replay …"]) await expect(desk.page.getByRole("button", { name })).toBeDisabled();
});

test("the demo has no webhooks, and is told where they are named", async ({ context, server }) => {
  const desk = await Desk.open(context, server, "#/webhooks");
  await expect(desk.card("Webhooks of ANZ")).toContainText("ANZ has no webhooks. They are named in the settings of the node, under apps[].webhooks.");
});
