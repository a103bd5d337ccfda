import type { Page } from "@playwright/test";
import { connected, Desk } from "./desk.js";
import { expect, test } from "./fixtures.js";

const markup = `<img src=x onerror="window.hit=1"><script>window.hit=1</script><svg onload=window.hit=1><b>bold</b>`;

/** What only markup could have made: the charts' canvas is the page's own. */
async function intruders(page: Page): Promise<number> {
  return page.locator("#page :is(img, script, iframe, svg, style, object, embed), dialog :is(img, script, iframe, svg, style, b)").count();
}

async function unharmed(page: Page): Promise<void> {
  expect(await intruders(page)).toBe(0);
  expect(await page.evaluate(() => "hit" in window)).toBe(false);
}

test("what strangers wrote is shown as the text that it is: names, mail, reasons", async ({ context, boot, receiver }) => {
  receiver.fail(500, markup);
  const server = await boot(`
apps:
  - appName: ANZ
    appId: app-id-343
    authEnabled: false
    webhooks:
      - {name: backend, url: "${receiver.url}", secret: 0123456789abcdef0123456789abcdef, events: [connected], allowPrivate: true}
limits: {webhookRetry: 2s}
`);
  await server.makeKey(markup.slice(0, 100), "ANZ", ["users:read"]);
  const client = await connected(server, "ANZ-1", { reconnect: false });
  const hostile = [markup, `"><iframe srcdoc="x">`, "\u202Egnp.exe\u202C \u0000 \uFFFF ‏عربي", "javascript:window.hit=1"];
  for (const content of hostile) await server.call("POST", "/messages", { from: "ANZ-1", to: "ANZ-2", content: { [markup]: content } });
  const desk = await Desk.open(context, server, "#/keys");
  const { page } = desk;
  const complaints: string[] = [];
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));

  const row = desk.rows("API keys").filter({ hasText: "<img src=x" });
  await expect(row.locator(".key-name")).toHaveText(markup.slice(0, 100));
  await row.getByRole("button", { name: /^Revoke/ }).click();
  await expect(page.getByRole("dialog")).toContainText(markup.slice(0, 100));
  await unharmed(page);
  await desk.confirm("Cancel");

  await page.goto(`${server.origin}/operator#/users/ANZ-2`);
  await page.getByRole("button", { name: "Look inside" }).click();
  await expect(page.locator(".mail details")).toHaveCount(hostile.length);
  for (const summary of await page.locator(".mail summary").all()) await summary.click();
  await expect(page.locator(".mail pre").first()).toContainText(JSON.stringify(markup));
  await unharmed(page);

  await page.goto(`${server.origin}/operator#/webhooks/backend`);
  await expect(desk.rows("History")).toContainText("<img src=x", { timeout: 30_000 });
  await expect(desk.card("How it goes")).toContainText("<img src=x");
  await unharmed(page);
  expect(complaints).toEqual([]);
  client.close();
});

test("a hostile address shows nothing but an error", async ({ context, server }) => {
  const desk = await Desk.open(context, server);
  for (const part of ["users", "webhooks"]) {
    await desk.page.goto(`${server.origin}/operator#/${part}/${encodeURIComponent(markup)}?app=${encodeURIComponent(markup)}`);
    await expect(desk.title).toHaveText(markup);
    await expect(desk.page.locator(".freshness").first()).not.toHaveText("");
    await unharmed(desk.page);
  }
});

test("a hostile server cannot do more", async ({ page, server }) => {
  const { key } = await server.makeKey("operator");
  const time = new Date().toISOString();
  const answers: Record<string, unknown> = {
    whoami: { admin: true, scopes: [markup], apps: [markup, "ANZ"], name: markup },
    users: { users: [{ userId: markup, sessions: markup, since: markup }], next: markup },
    sessions: { sessions: [{ id: markup, userId: markup, since: time, address: markup, transport: markup }] },
    keys: { keys: [{ id: markup, name: markup, app: markup, admin: false, scopes: [markup], createdAt: time, lastUsedAt: markup }] },
    cluster: {
      members: [{ id: markup, name: markup, address: markup, status: markup, roles: [markup], version: markup, sessions: 1, load: 1, since: markup, reason: markup, copies: { streams: 1, behind: 1 } }],
      store: { streams: 1, short: [markup], due: [], gone: [{ name: markup, streams: 1, behind: 1, since: markup }] },
    },
    webhooks: { webhooks: [{ name: markup, app: markup, url: `javascript:window.hit=1//${markup}`, state: markup, waiting: 1, delivered: 1, failed: 1, events: [], stuckUsers: 1, lastFailure: { at: time, reason: markup } }] },
  };
  await page.route("**/v1/**", async (route) => {
    const call = new URL(route.request().url()).pathname.split("/")[2] ?? "";
    if (call === "stats") return route.fulfill({ status: 500, contentType: "application/problem+json", body: JSON.stringify({ code: markup, detail: markup, scope: undefined }) });
    return route.fulfill({ json: answers[call] ?? {} });
  });
  await page.route("**/readyz", (route) => route.fulfill({ json: { ready: false, parts: [{ name: markup, ready: false, reason: markup }] } }));
  await page.goto(`${server.origin}/operator`);
  const desk = new Desk(page);
  await desk.signIn(key);
  await expect(desk.card("Health")).toContainText(markup);
  await expect(page.locator(".freshness")).toContainText(markup);
  await unharmed(page);
  for (const part of ["Users", "Sessions", "Keys", "Webhooks", "Cluster"]) {
    await desk.go(part);
    await expect(page.locator("tbody tr")).toHaveCount(1);
    await expect(page.locator("tbody")).toContainText("<img src=x");
    await unharmed(page);
  }
  // No link leads anywhere but to a page of this part.
  expect(await page.locator("#desk a").evaluateAll((links) => links.map((link) => (link as HTMLAnchorElement).protocol + (link as HTMLAnchorElement).pathname))).not.toContain("javascript:");
});

test("answers that are none are said to be, and the page goes on", async ({ context, server }) => {
  const desk = await Desk.open(context, server, "#/users");
  const { page } = desk;
  let answer = { status: 502, contentType: "text/html", body: "<h1>Bad gateway</h1>" };
  await page.route("**/v1/users*", (route) => route.fulfill(answer));
  await desk.go("Sessions");
  await desk.go("Users");
  await expect(page.locator(".freshness")).toContainText("status 502");
  answer = { status: 200, contentType: "text/html", body: "<h1>Log in to the network</h1>" };
  await expect(page.locator(".freshness")).toContainText("no answer of Switchboard; is a proxy in between?", { timeout: 15_000 });
  await page.unroute("**/v1/users*");
  await expect(page.locator(".freshness")).toHaveText("", { timeout: 15_000 });
});

test("nothing is asked of anybody but the server", async ({ context, server }) => {
  const asked = new Set<string>();
  context.on("request", (request) => asked.add(new URL(request.url()).origin));
  const desk = await Desk.open(context, server);
  for (const part of ["Users", "Sessions", "Keys", "Webhooks", "Cluster", "Domains", "Overview"]) await desk.go(part);
  await expect(desk.tile("Sessions")).toHaveText("0");
  expect([...asked]).toEqual([server.origin]);
  const answer = await desk.page.goto(`${server.origin}/operator`);
  const policy = answer?.headers()["content-security-policy"] ?? "";
  expect(policy).toContain("script-src 'self'");
  expect(policy).toContain("style-src 'self'");
  expect(policy).toContain("trusted-types 'none'");
});

test("long mail does not hang the tab", async ({ context, server }) => {
  test.slow();
  const sender = await connected(server, "ANZ-1", { receipts: true });
  const content = '{"deep":[1,2,{"x":"y"}]},'.repeat(2_000).slice(0, -1);
  for (let n = 0; n < 60; n++) await sender.send({ to: "ANZ-2", contentText: `[${content}]`, reference: String(n) }).stored;
  const desk = await Desk.open(context, server, "#/users/ANZ-2");
  const { page } = desk;
  await page.evaluate(() => {
    const holder = window as unknown as { longest: number };
    holder.longest = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) holder.longest = Math.max(holder.longest, duration);
    }).observe({ type: "longtask" });
  });
  await page.getByRole("button", { name: "Look inside" }).click();
  const note = page.locator(".peek-note");
  const more = page.getByRole("button", { name: "Show more" });
  await expect(async () => {
    // The button goes with the last page, which may come right after the look.
    if (await more.isVisible()) await more.click({ timeout: 2_000 }).catch(() => undefined);
    expect(await note.textContent()).toMatch(/^60 messages/);
  }).toPass({ timeout: 60_000, intervals: [50] });
  await expect(page.locator(".mail details")).toHaveCount(60);
  for (let n = 0; n < 3; n++) await page.locator(".mail summary").nth(n).click();
  await expect(page.locator(".mail pre")).toHaveCount(3);
  const longest = await page.evaluate(() => (window as unknown as { longest: number }).longest);
  expect(longest).toBeLessThan(2_000);
  sender.close();
});
