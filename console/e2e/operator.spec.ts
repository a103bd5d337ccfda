import { connected, Desk } from "./desk.js";
import { expect, test } from "./fixtures.js";

test("the demo's key opens every part, and the page for messages is one click away", async ({ context, server }) => {
  const page = await context.newPage();
  await page.goto(server.origin);
  await page.getByRole("link", { name: "Operator" }).click();
  await expect(page).toHaveTitle("Switchboard operator");
  await expect(page.getByText("it printed a key when it started")).toBeVisible();
  const desk = new Desk(page);
  await desk.signIn(`key       ${server.key} `); // the whole line, as it is copied from a terminal
  await expect(page.locator("#pill-text")).toHaveText("of the demo, until it stops");
  await expect(desk.title).toBeFocused();
  await expect(desk.title).toHaveCSS("outline-style", "none"); // it was the mouse that led here
  for (const part of ["Users", "Sessions", "Keys", "Webhooks", "Cluster", "Domains", "Overview"]) {
    await desk.go(part);
    await expect(page).toHaveTitle(`${part} · Switchboard operator`);
    await expect(page.getByRole("link", { name: part })).toHaveAttribute("aria-current", "page");
    await expect(page.getByText("lacks the scope")).toHaveCount(0);
  }
  await page.getByRole("link", { name: "Messages" }).click();
  await expect(page.getByRole("button", { name: /^Ann/ })).toBeVisible();
});

test("a key that is not good is refused with the reason, and nothing is kept of it", async ({ context, server }) => {
  const page = await context.newPage();
  await page.goto(`${server.origin}/operator`);
  const key = page.getByLabel("API key");
  await expect(key).toBeFocused();
  const status = page.locator("#status");
  for (const [bad, says] of [["letmein", "KEY_INVALID"], [`sb_${"a".repeat(16)}_${"b".repeat(52)}`, "There is no such key, or it was revoked"]] as const) {
    await key.fill(bad);
    await key.press("Enter");
    await expect(status).toContainText(says);
    await expect(key).toBeFocused();
  }
  await expect(key).toHaveAttribute("type", "password");
  await page.getByLabel("Show the key").check();
  await expect(key).toHaveAttribute("type", "text");
  expect(await page.evaluate(() => [sessionStorage.length, localStorage.length, document.cookie])).toEqual([0, 0, ""]);
});

test("the key is kept for the tab only: a reload keeps it, signing out and another tab do not", async ({ context, server }) => {
  const desk = await Desk.open(context, server, "#/keys");
  const { page } = desk;
  await page.reload();
  await desk.online();
  await expect(desk.title).toHaveText("Keys");
  expect(await page.evaluate(() => [localStorage.length, document.cookie, location.href.includes("sb_")])).toEqual([0, "", false]);
  const other = await context.newPage();
  await other.goto(`${server.origin}/operator#/keys`);
  await expect(other.getByLabel("API key")).toBeVisible();
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page.locator("#status")).toHaveText("Signed out.");
  expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
  await page.reload();
  await expect(page.getByLabel("API key")).toBeVisible();
});

test("addresses lead to pages, also through the sign-in, and back and forth", async ({ context, server }) => {
  const desk = await Desk.open(context, server, "#/users/ANZ-7");
  const { page } = desk;
  await expect(desk.title).toHaveText("ANZ-7");
  await expect(page.getByRole("link", { name: "Users", exact: true })).toHaveAttribute("aria-current", "page");
  await page.getByRole("link", { name: "All users" }).click();
  await expect(desk.title).toHaveText("Users");
  await expect(desk.title).toBeFocused();
  await page.goBack();
  await expect(desk.title).toHaveText("ANZ-7");
  await page.goto(`${server.origin}/operator#/no/such/page`);
  await expect(desk.title).toHaveText("Nothing here");
  await page.getByRole("link", { name: "Go to the overview" }).click();
  await expect(desk.title).toHaveText("Overview");
});

test("a key that is revoked while the page is open ends it, and says so", async ({ context, server }) => {
  const { id, key } = await server.makeKey("short-lived");
  for (const part of ["#/overview", "#/users", "#/keys"]) {
    const desk = await Desk.open(context, server, part, key);
    await expect(desk.title).toBeVisible();
  }
  await server.call("DELETE", `/keys/${id}`);
  for (const page of context.pages()) {
    await page.bringToFront();
    await expect(page.locator("#status")).toContainText("KEY_INVALID");
    await expect(page.locator("#status")).toContainText("revoked");
    await expect(page.locator(".page")).toHaveCount(0);
    expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
  }
});

test("a key that expires while the page is open ends it, and says so", async ({ context, server }) => {
  const desk = new Desk(await context.newPage());
  await desk.page.goto(`${server.origin}/operator`); // before the key is made: it may take long where the machine is busy
  const { key } = await server.makeKey("for a moment", undefined, undefined, { expiresAt: new Date(Date.now() + 5_000).toISOString() });
  await desk.signIn(key);
  await expect(desk.page.locator("#status")).toContainText("KEY_EXPIRED", { timeout: 20_000 });
});

test("a key with few rights opens what it is for, and the rest says which scope it lacks", async ({ context, server }) => {
  const { key } = await server.makeKey("reader", "ANZ", ["users:read"]);
  const client = await connected(server, "ANZ-7");
  const desk = await Desk.open(context, server, "", key);
  await expect(desk.card("Live numbers")).toContainText("lacks the scope stats:read");
  await expect(desk.card("Health")).toContainText("works"); // needs none
  for (const [part, scope] of [["Keys", "keys:manage"], ["Webhooks", "webhooks:read"]] as const) {
    await desk.go(part);
    await expect(desk.page.locator(".lacks")).toContainText(scope);
  }
  await desk.go("Users");
  await desk.page.getByRole("link", { name: "ANZ-7" }).click();
  await expect(desk.rows("Sessions")).toHaveCount(1);
  for (const [name, scope] of [[/^Close session/, "sessions:close"], ["Close all", "sessions:close"], ["Look inside", "mailboxes:read"], ["Clear", "mailboxes:clear"]] as const) {
    const button = desk.page.getByRole("button", { name });
    await expect(button).toBeDisabled();
    await expect(button).toHaveAttribute("title", new RegExp(scope));
  }
  client.close();
});

test("a server that goes and comes back is followed, and what was shown stays", async ({ context, server }) => {
  const desk = await Desk.open(context, server, "#/keys");
  await expect(desk.rows("API keys")).not.toHaveCount(0);
  await server.kill();
  await expect(desk.page.locator(".freshness")).toContainText("The server cannot be reached. (UNREACHABLE) What is shown is how it was. Trying again.", { timeout: 20_000 });
  await expect(desk.page.locator("body")).toHaveAttribute("data-state", "waiting");
  await expect(desk.rows("API keys")).not.toHaveCount(0);
  await server.resume();
  await expect(desk.page.locator(".freshness")).toHaveText("", { timeout: 20_000 });
  await desk.online();
});

test("with the server away the key stays in its field for the next try", async ({ context, server }) => {
  const { key } = await server.makeKey("patient");
  const page = await context.newPage();
  await page.goto(`${server.origin}/operator`);
  await server.kill();
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.locator("#status")).toContainText("UNREACHABLE");
  await server.resume();
  await page.getByRole("button", { name: "Sign in" }).click();
  await new Desk(page).online();
});

test("apps are chosen from where there are several, and the choice is in the address", async ({ context, boot }) => {
  const server = await boot(`
apps:
  - {appName: ANZ, appId: app-id-343, authEnabled: false}
  - {appName: SHOP, appId: shop-id, authEnabled: false}
`);
  const clients = [await connected(server, "ANZ-1"), await connected(server, "SHOP-2", { appId: "shop-id" })];
  const desk = await Desk.open(context, server, "#/users");
  const { page } = desk;
  await expect(page.getByText("it printed a key")).toBeHidden();
  await expect(desk.rows("Connected users of ANZ")).toHaveText(/ANZ-1/);
  await page.getByRole("combobox", { name: "App" }).selectOption("SHOP");
  await expect(page).toHaveURL(/#\/users\?app=SHOP$/);
  await expect(desk.rows("Connected users of SHOP")).toHaveText(/SHOP-2/);
  await desk.go("Sessions");
  await expect(desk.rows("Sessions of SHOP")).toHaveText(/SHOP-2/);
  await page.reload();
  await expect(desk.rows("Sessions of SHOP")).toHaveText(/SHOP-2/);
  await page.goto(`${server.origin}/operator#/users/ANZ-1`);
  await expect(page.getByRole("combobox", { name: "App" })).toHaveValue("ANZ");
  for (const client of clients) client.close();
});

test("the pages are light", async ({ context, server }) => {
  const scripts = async (path: string): Promise<number> => {
    const page = await context.newPage();
    const sizes: Promise<number>[] = [];
    page.on("response", (response) => {
      if (response.url().endsWith(".js")) sizes.push(response.body().then((body) => body.length));
    });
    await page.goto(server.origin + path, { waitUntil: "networkidle" });
    return (await Promise.all(sizes)).reduce((all, size) => all + size, 0);
  };
  const [messages, operator, chat, devices, map] = [await scripts("/"), await scripts("/operator"), await scripts("/chat"), await scripts("/devices"), await scripts("/map")];
  console.log(`scripts: ${messages} bytes for messages, ${operator} for operators, ${chat} for chat, ${devices} for devices, ${map} for the map`);
  expect(messages).toBeGreaterThan(10_000);
  expect(messages).toBeLessThan(41_000);
  expect(operator).toBeLessThan(180_000); // two pages more: services and settings
  expect(chat).toBeLessThan(105_000);
  expect(devices).toBeLessThan(108_000);
  expect(map).toBeLessThan(401_000);
  const licences = await fetch(`${server.origin}/licenses.txt`);
  const text = await licences.text();
  for (const library of ["uplot", "ol ", "world-atlas"]) expect(text).toContain(`## ${library}`);
});
