import type { Page } from "@playwright/test";
import type { Client } from "@switchboard/client";
import { problems, type ColorScheme } from "./axe.js";
import { connected, Desk } from "./desk.js";
import { expect, test } from "./fixtures.js";
import { manyNodes } from "./manynodes.js";
import type { Receiver } from "./receiver.js";
import type { Server } from "./server.js";

const sizes = {
  wide: { width: 1440, height: 900 },
  middle: { width: 900, height: 800 },
  narrow: { width: 390, height: 844 },
};

/** At these sizes axe looks: between them the same parts are only arranged otherwise. */
const looked = new Set(["wide", "narrow"]);

const settings = (receiver: Receiver): string => `
apps:
  - appName: ANZ
    appId: app-id-343
    masterUserId: ANZ-123223
    authEnabled: false
    webhooks:
      - {name: backend, url: "${receiver.url}", secret: 0123456789abcdef0123456789abcdef, events: [connected, disconnected], allowPrivate: true}
      - {name: audit, url: "${receiver.url}/failing", secret: 0123456789abcdef0123456789abcdef, events: [connected], allowPrivate: true}
  - {appName: SHOP, appId: shop-id, authEnabled: false}
limits: {webhookRetry: 3s}
`;

/** A server on which something of everything has happened. */
async function lively(server: Server, receiver: Receiver): Promise<Client[]> {
  const clients = await Promise.all(["ANZ-123223", "ANZ-7", "ANZ-7", "ANZ-8"].map((user) => connected(server, user)));
  clients[0]?.on("error", () => undefined);
  for (let n = 0; n < 40; n++) {
    clients[0]?.send({ to: "ANZ-7", content: `message ${n}` });
    clients[1]?.send({ to: "ANZ-8", content: n, feature: "FAST" });
  }
  clients[0]?.send({ to: "XYZ-1", content: "to nobody" });
  for (let n = 0; n < 3; n++) await server.call("POST", "/messages", { to: "ANZ-99", app: "ANZ", content: { station: n, temperature: 21.5 } });
  await server.makeKey("billing backend", "ANZ", ["messages:send", "users:read"]);
  await server.makeKey("everything of ANZ", "ANZ", ["messages:send", "users:read", "sessions:close", "mailboxes:read", "mailboxes:clear", "keys:manage", "webhooks:read", "webhooks:manage", "stats:read"]);
  const events = async (name: string): Promise<number> => (await server.call<{ events: unknown[] }>("GET", `/webhooks/${name}/events?app=ANZ`)).events.length;
  await expect.poll(() => events("backend"), { timeout: 30_000 }).toBeGreaterThan(3);
  receiver.fail(500, "out of order");
  clients.push(await connected(server, "ANZ-9"));
  await expect.poll(() => events("audit"), { timeout: 30_000 }).toBeGreaterThan(4);
  return clients;
}

async function looksRight(page: Page, colorScheme: ColorScheme, accessible: boolean, what: string, picture: string): Promise<void> {
  await page.screenshot({ path: picture, fullPage: true });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(overflow, `${what} scrolls sideways`).toBeLessThanOrEqual(0);
  const cut = await page.locator(".card, .tile, .dialog").evaluateAll((all) => all.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent.slice(0, 60)));
  expect(cut, `${what}: what does not fit`).toEqual([]);
  if (accessible) expect(await problems(page, colorScheme), what).toEqual([]);
}

for (const colorScheme of ["light", "dark"] as const) {
  test(`every part looks right and is accessible, ${colorScheme}`, async ({ browser, boot, receiver }, info) => {
    test.setTimeout(300_000);
    const server = await boot(settings(receiver));
    const clients = await lively(server, receiver);
    const { key } = await server.makeKey("on call");
    for (const [name, viewport] of Object.entries(sizes)) {
      if (colorScheme === "dark" && !looked.has(name)) continue; // all but the colours is as in the light
      const context = await browser.newContext({ colorScheme, viewport });
      const page = await context.newPage();
      const look = (what: string): Promise<void> => looksRight(page, colorScheme, looked.has(name), `${what}, ${name}, ${colorScheme}`, info.outputPath(`${colorScheme}-${name}-${what}.png`));
      await page.goto(`${server.origin}/operator`);
      await page.getByLabel("API key").fill("nonsense");
      await page.getByLabel("API key").press("Enter");
      await expect(page.locator("#status")).toContainText("KEY_INVALID");
      await look("door");
      const desk = new Desk(page);
      await desk.signIn(key);
      await expect(desk.tile("Messages in")).not.toHaveText("–");
      await look("overview");
      await desk.go("Users");
      await expect(desk.rows("Connected users of ANZ")).toHaveCount(4);
      await look("users");
      await desk.go("Sessions");
      await expect(desk.rows("Sessions of ANZ")).toHaveCount(5);
      await look("sessions");
      await desk.go("Webhooks");
      await expect(desk.rows("Webhooks of ANZ")).toHaveCount(2);
      await look("webhooks");
      await page.getByRole("link", { name: "audit" }).click();
      await expect(desk.rows("History").first()).toContainText("given up");
      await desk.rows("History").first().locator("summary").click();
      await look("webhook");
      await page.getByRole("button", { name: "Replay …" }).click();
      await look("replay");
      await page.keyboard.press("Escape");
      await desk.go("Keys");
      await expect(desk.rows("API keys")).toHaveCount(3);
      await look("keys");
      await page.getByRole("button", { name: "New key" }).click();
      await look("new-key");
      await page.getByRole("link", { name: "Users" }).click();
      await page.getByRole("link", { name: "ANZ-7" }).click();
      await expect(desk.rows("Sessions")).toHaveCount(2);
      await page.getByRole("button", { name: "Close all" }).click();
      await look("question");
      await desk.confirm("Cancel");
      await page.goto(`${server.origin}/operator#/users/ANZ-99`);
      await page.getByRole("button", { name: "Look inside" }).click();
      await page.locator(".mail summary").first().click();
      await look("mailbox");
      await desk.go("Cluster");
      await expect(desk.card("This node is alone")).toBeVisible();
      await look("alone");
      await page.route("**/v1/cluster", (route) => route.fulfill({ json: manyNodes() }));
      await expect(desk.rows("Nodes")).toHaveCount(7);
      await look("cluster");
      await page.goto(`${server.origin}/operator#/users?app=SHOP`);
      await expect(desk.card("Connected users of SHOP")).toContainText("Nobody");
      await look("nobody");
      await context.close();
    }
    for (const client of clients) client.close();
  });
}

test("nothing moves while numbers come, lists change and things are said", async ({ context, server }) => {
  const { key } = await server.makeKey("operator");
  const page = await context.newPage();
  await page.addInitScript(() => {
    const holder = window as unknown as { shifts: string[] };
    holder.shifts = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as (PerformanceEntry & { value: number; hadRecentInput: boolean; sources: { node?: Node }[] })[]) {
        if (entry.value < 0.001 || entry.hadRecentInput) continue;
        const what = entry.sources.map(({ node }) => `${node?.textContent?.slice(0, 40) ?? "?"} in ${node?.parentElement?.className ?? "?"}`).join(" ");
        holder.shifts.push(`${location.hash} ${entry.value.toFixed(4)} ${what}`);
      }
    }).observe({ type: "layout-shift", buffered: true });
  });
  const shifts = (): Promise<string[]> => page.evaluate(() => (window as unknown as { shifts: string[] }).shifts);
  await page.goto(`${server.origin}/operator`);
  const desk = new Desk(page);
  await desk.signIn(key);
  const client = await connected(server, "ANZ-1", { reconnect: false });
  for (let n = 0; n < 2_000; n++) client.send({ to: "ANZ-1", content: n });
  await expect(desk.tile("Sessions")).toHaveText("1");
  await expect(desk.tile("Messages in")).not.toHaveText("0");
  expect(await shifts()).toEqual([]);
  await server.kill();
  await expect(page.locator(".freshness")).toContainText("UNREACHABLE", { timeout: 15_000 });
  expect(await shifts()).toEqual([]);
  await server.resume();
  await expect(page.locator(".freshness")).toHaveText("", { timeout: 15_000 });
  expect(await shifts()).toEqual([]);
});

test("everything can be done with the keyboard", async ({ context, server }) => {
  const client = await connected(server, "ANZ-7", { reconnect: false });
  const { key } = await server.makeKey("operator");
  const page = await context.newPage();
  await page.goto(`${server.origin}/operator`);
  const desk = new Desk(page);
  const focused = (): Promise<string> => page.evaluate(() => document.activeElement?.ariaLabel ?? document.activeElement?.textContent ?? "");
  const tabTo = async (wanted: RegExp): Promise<void> => {
    for (let n = 0; n < 60 && !wanted.test(await focused()); n++) await page.keyboard.press("Tab");
    expect(await focused()).toMatch(wanted);
  };
  await page.keyboard.type(key);
  await page.keyboard.press("Enter");
  await desk.online();
  await tabTo(/^Users$/);
  await page.keyboard.press("Enter");
  await expect(desk.title).toBeFocused();
  await expect(desk.rows("Connected users of ANZ")).toHaveCount(1);
  await tabTo(/^ANZ-7$/);
  await page.keyboard.press("Enter");
  await expect(desk.rows("Sessions")).toHaveCount(1);
  await tabTo(/^Close session/);
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  expect(await focused()).toBe("Close session");
  await page.keyboard.press("Enter");
  await expect(desk.card("Sessions")).toContainText("Not connected.");
  await expect(desk.said).toContainText("Closed a session");
  client.close();
});
