import { createHmac } from "node:crypto";
import { Devices } from "./devices.js";
import { expect, test } from "./fixtures.js";
import type { Server } from "./server.js";

interface Answer {
  windows: { start: string; groups: { device: string; count: number; sum: number; min: number; max: number }[] }[];
}

const own = (access: string): string => `
apps: [{appName: ANZ, appId: app-id-343, authEnabled: false}]
matching: {simple: {enabled: true, access: ${access}}}
`;

const secret = "a secret of at least thirty-two bytes, for the test";
const users = `
apps:
  - {appName: ANZ, appId: app-id-343, authEnabled: false}
  - {appName: SHOP, appId: shop-1, jwt: {secret: "${secret}"}}
matching: {simple: {enabled: true, access: jwt}}
`;

/** A token with which user n of SHOP signs in. */
function tokenOf(n: number): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: `SHOP-${n}`, exp: Math.floor(Date.now() / 1000) + 600 })}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

test("a and c are matched, b waits, a text goes across, and when a leaves c is matched with b", async ({ context, server }) => {
  const devices = await Devices.open(context, server);
  await expect(devices.state("a")).toHaveText("Not connected.");
  await devices.connect("a");
  await expect(devices.log("a")).toHaveText([/^Connected and handled by \S+_\d+$/]);
  await expect(devices.state("a")).toHaveText("Connected: waiting for a device nearby.");
  await devices.connect("b");
  await devices.say("b", "is anybody there?");
  await expect(devices.log("b").last()).toHaveText("Nobody is matched with it: the server drops that.");
  await devices.connect("c");
  await expect(devices.state("a")).toHaveText("Matched with c.");
  await expect(devices.state("c")).toHaveText("Matched with a.");
  await expect(devices.log("a").last()).toHaveText("I matched with device 'c'!");
  await expect(devices.log("c").last()).toHaveText("I matched with device 'a'!");
  await expect(devices.state("b")).toHaveText("Connected: waiting for a device nearby.");
  await devices.say("a", "ciao");
  await expect(devices.log("c").last()).toHaveText("device a says: ciao");
  await devices.say("c", "device 'a' left"); // is what it says, and no news of the server
  await expect(devices.log("a").last()).toHaveText("device c says: device 'a' left");
  await expect(devices.state("a")).toHaveText("Matched with c.");
  await expect(devices.page.locator("#pill")).toHaveText("3 connected");
  await devices.press("a", "Disconnect");
  await expect(devices.state("a")).toHaveText("Not connected.");
  await expect(devices.log("c").filter({ hasText: "device 'a' left" }).last()).toHaveText("device 'a' left");
  await expect(devices.state("c")).toHaveText("Matched with b.");
  await expect(devices.state("b")).toHaveText("Matched with c.");
  await devices.connect("d");
  await expect(devices.state("d")).toHaveText("Connected: waiting for a device nearby.");
});

test("what the journal and the table of traffic show is what the server says", async ({ context, server }) => {
  test.setTimeout(90_000);
  const devices = await Devices.open(context, server);
  await expect(devices.page.locator("#demo-hint")).toBeVisible();
  await devices.signIn(`key ${server.key}`);
  await expect(devices.journal).toContainText("No event in the last 15 minutes");
  await devices.connect("a");
  await devices.connect("c");
  await expect(devices.state("a")).toHaveText("Matched with c.");
  await devices.say("a", "ciao");
  await expect(devices.log("c").last()).toHaveText("device a says: ciao");
  const has = (type: string, device: string, amount: string): Promise<boolean> => devices.events().then((rows) => rows.some((row) => row[0] === type && row[2] === device && row[3] === amount));
  for (const [type, device, amount] of [["connectionsOpen", "a", ""], ["connectionsOpen", "c", ""], ["matched", "a", ""], ["matched", "c", ""], ["bytesSent", "a", "4 B"], ["bytesReceived", "c", "4 B"]] as const) {
    await expect.poll(() => has(type, device, amount), `${type} of ${device}`).toBe(true);
  }
  const stored = await server.call<{ events: { type: string; device?: string }[] }>("GET", "/journal");
  const shown = (await devices.events()).map((row) => `${row[0]} ${row[2]}`);
  expect(shown).toEqual(stored.events.map(({ type, device }) => `${type} ${device ?? "–"}`).reverse());

  await devices.traffic.getByLabel("Grouped by").selectOption("device");
  await sameAsAsked(devices, server, "10s");
  expect(await trafficOf(server, "10s")).toContainEqual(["a", "1", "4", "4", "4"]);
  await expect(devices.traffic.getByRole("img", { name: /^Messages in 10 s/ })).toBeVisible();
  await expect(devices.traffic.locator(".legend").first()).toContainText("a");

  await chartsAsTable(devices);

  await devices.say("c", "bene, grazie");
  await expect.poll(() => has("bytesSent", "c", "12 B")).toBe(true);
  await devices.traffic.getByRole("radio", { name: "1 min" }).check();
  await sameAsAsked(devices, server, "1m");
  expect(await trafficOf(server, "1m")).toContainEqual(["c", "1", "12", "12", "12"]);

  await devices.journal.getByLabel("Of device").fill("c");
  await devices.journal.getByLabel("Type").selectOption("bytesSent");
  await expect.poll(async () => (await devices.events()).map((row) => [row[0], row[2], row[3]])).toEqual([["bytesSent", "c", "12 B"]]);
  await devices.journal.getByLabel("Of device").fill("nobody");
  await expect(devices.journal).toContainText("No such event in the last 15 minutes.");
});

/** Waits until the charts have, at each time, what the table has, and nothing where it has no row. */
async function chartsAsTable(devices: Devices): Promise<void> {
  await expect(async () => {
    const rows = await devices.windows();
    for (const [title, column, unit] of [[/^Messages in/, 2, ""], [/^Bytes in/, 3, " B"]] as const) {
      const charted = await devices.charted(title);
      expect(charted.size).toBeGreaterThan(50); // of the 60 windows that are shown
      for (const row of rows) expect(charted.get(row[0] ?? "")).toContain(`${row[1]} ${row[column]}${unit}`);
      const others = [...charted].filter(([when]) => when !== "now" && !rows.some((row) => row[0] === when));
      for (const [, lines] of others) for (const line of lines) expect(line).toBe(`${line.split(" ")[0]} 0${unit}`);
    }
  }).toPass({ timeout: 30_000 });
}

/** Waits until the table has the rows that the API answers. */
async function sameAsAsked(devices: Devices, server: Server, width: string): Promise<void> {
  await expect(async () => {
    const asked = await trafficOf(server, width);
    expect(asked.length).toBeGreaterThan(0);
    expect((await devices.windows()).map((row) => [row[1], row[2], row[3], row[4], row[6]])).toEqual(asked);
  }).toPass({ timeout: 30_000 });
}

/** Traffic by device: name, messages, bytes, smallest, largest; the newest window first. */
async function trafficOf(server: Server, width: string): Promise<string[][]> {
  const { windows } = await server.call<Answer>("GET", `/traffic?window=${width}&by=device`);
  return windows
    .reverse()
    .flatMap(({ groups }) => groups.map(({ device, count, sum, min, max }) => [device === "" ? "no device" : device, String(count), String(sum), String(min), String(max)]));
}

test("a connection that was lost is made again, and devices are matched anew", async ({ context, server }) => {
  const devices = await Devices.open(context, server);
  await devices.signIn(server.key);
  await devices.connect("a");
  await devices.connect("c");
  await expect(devices.state("a")).toHaveText("Matched with c.");
  await server.kill();
  await expect(devices.state("a")).toContainText("Trying again.");
  await expect(devices.log("a").last()).toHaveText("The connection was lost. Trying again.");
  await expect(devices.page.locator("#pill")).toHaveText("None connected");
  await expect(devices.traffic.locator(".freshness")).toContainText("What is shown is how it was. Trying again.");
  await expect(devices.journal.locator(".freshness")).toContainText("Trying again.");
  await expect(devices.device("a").getByRole("button", { name: "Send" })).toBeDisabled();
  await server.resume();
  await expect(devices.state("a")).toHaveText("Matched with c.", { timeout: 20_000 });
  // The demo's key ended with the process: the page says so, and its devices stay.
  await expect(devices.page.locator("#status")).toContainText("KEY_INVALID", { timeout: 20_000 });
  await expect(devices.traffic).toHaveCount(0);
  await devices.signIn(server.key);
  await expect(devices.journal.locator("tbody tr").first()).toBeVisible();
});

test("what is wrong is said in words", async ({ context, server }) => {
  const devices = await Devices.open(context, server);
  await devices.device("a").getByLabel("Lat").fill("near the door");
  await devices.press("a", "Connect");
  await expect(devices.state("a")).toHaveText("Lat is to be a number from -1e9 to 1e9, such as 1.5.");
  await expect(devices.device("a").getByLabel("Lat")).toBeFocused();
  await devices.device("a").getByLabel("Lat").fill("1");
  await devices.connect("a");
  await devices.device("b").getByLabel("ID").fill("a");
  await devices.page.locator(".device").nth(1).getByRole("button", { name: "Connect" }).click();
  await expect(devices.page.locator(".device").first().getByRole("status")).toHaveText("Another connection has taken over this ID.");
  await devices.page.getByLabel("API key").fill("nonsense");
  await devices.page.getByLabel("API key").press("Enter");
  await expect(devices.page.locator("#status")).toContainText("KEY_INVALID");
});

test("where devices need a key they take the one that is signed in with, and parts without a scope say so", async ({ context, boot }) => {
  const server = await boot(own("key"));
  const devices = await Devices.open(context, server);
  await expect(devices.page.locator("#access-note")).toContainText("an API key that has the scope messages:send");
  await devices.press("a", "Connect");
  await expect(devices.state("a")).toHaveText("Devices need an API key here: sign in below first.");
  await devices.signIn((await server.makeKey("reader", "ANZ", ["stats:read"])).key);
  await expect(devices.journal).toContainText("lacks the scope journal:read");
  await devices.press("a", "Connect");
  await expect(devices.state("a")).toHaveText("The server does not let this device in. The key lacks the scope messages:send.");
  await devices.page.getByRole("button", { name: "Sign out" }).click();
  await devices.signIn((await server.makeKey("devices", "ANZ", ["messages:send", "journal:read"])).key);
  await expect(devices.traffic).toContainText("lacks the scope stats:read");
  await devices.connect("a");
});

test("where devices are users each has a token of its own, or none where its app wants none", async ({ context, boot }) => {
  const devices = await Devices.open(context, await boot(users));
  await devices.device("a").getByLabel("ID", { exact: true }).fill("ANZ-7");
  await devices.press("ANZ-7", "Connect");
  await expect(devices.state("ANZ-7")).toHaveText("Devices need an app ID here: it stands above.");
  await devices.page.getByLabel("App ID").fill("app-id-343");
  await devices.connect("ANZ-7");
  await devices.press("b", "Connect");
  await expect(devices.state("b")).toHaveText(/^The server does not let this device in\. Id has to be a user ID here, .* \(INVALID_REQUEST\)$/);

  await devices.page.getByLabel("App ID").fill("shop-1");
  for (const [i, [id, user]] of ([["b", 1], ["c", 2]] as const).entries()) {
    const name = `SHOP-${user}`;
    await devices.device(id).getByLabel("ID", { exact: true }).fill(name);
    await devices.press(name, "Connect");
    await expect(devices.state(name)).toHaveText(/^The server does not let this device in\. .+ \(BAD_TOKEN\)$/);
    await devices.device(name).getByLabel("Token").fill(tokenOf(user));
    await devices.connect(name);
    await expect(devices.page.locator("#pill")).toHaveText(`${i + 2} connected`);
  }
});

test("where devices cannot connect the page says so, and offers nothing else", async ({ context, boot }) => {
  const closed = await Devices.open(context, await boot("apps: [{appName: ANZ, appId: app-id-343, authEnabled: false}]"));
  await expect(closed.page.locator("#access-note")).toContainText("matching.enabled and matching.simple.enabled");
  await expect(closed.page.getByRole("heading", { name: "Devices", exact: true })).toBeVisible();
  await expect(closed.page.getByRole("button", { name: "Connect" })).toHaveCount(0);
  await expect(closed.page.getByRole("button", { name: "Sign in" })).toBeVisible();
});
