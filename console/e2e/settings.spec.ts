import type { Page } from "@playwright/test";
import type { Settings } from "../src/operator/answers.js";
import { problems, type ColorScheme } from "./axe.js";
import { Desk } from "./desk.js";
import { expect, test } from "./fixtures.js";

const sizes = { wide: { width: 1440, height: 900 }, narrow: { width: 375, height: 812 } };

const secret = "0123456789abcdef-0123456789abcdef";
const own = `apps: [{appName: ANZ, appId: app-id-343, jwt: {secret: ${secret}}}]\nlimits: {frame: 32KiB}\norigins: ["https://shop.example"]\n`;

/** What a node answers in trouble: it is shown as it comes. */
function inTrouble(real: Settings): Settings {
  const at = new Date(Date.now() - 90_000).toISOString();
  return {
    ...real,
    source: { url: "http://meta.example:9000", profile: "default", commit: "4f1d2a6c0b9e8d7f6a5b4c3d2e1f0a9b8c7d6e5f", files: ["application.yaml", "switchboard.yaml"], since: at, confirmed: at, following: true },
    pending: [{ key: "log.format", value: "json" }, { key: "chat.webhooks" }],
    troubles: [
      { kind: "bad", since: at, commit: "9b1c2a6c0b9e8d7f6a5b4c3d2e1f0a9b8c7d6e5f", text: ['switchboard.yaml:4 in commit 9b1c2a6c0b: limits.frame: "64KB" is not a size: did you mean 64KiB?', "switchboard.yaml:9 in commit 9b1c2a6c0b: db.url: there is no secret DB_URL"] },
      { kind: "unreachable", since: at, text: ["the meta server cannot be reached: connection refused"] },
    ],
    settings: real.settings.map((one) => (one.key === "limits.frame" ? { ...one, from: "repository", place: "switchboard.yaml:2 in commit 4f1d2a6c0b" } : one)),
  };
}

async function looksRight(page: Page, colorScheme: ColorScheme, what: string, picture: string): Promise<void> {
  await page.screenshot({ path: picture, fullPage: true });
  expect(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth), `${what} scrolls sideways`).toBeLessThanOrEqual(0);
  const cut = await page.locator(".card").evaluateAll((all) => all.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent.slice(0, 60)));
  expect(cut, `${what}: what does not fit`).toEqual([]);
  expect(await problems(page, colorScheme), what).toEqual([]);
}

test("the operator sees what is in force and from where, and no secret", async ({ context, boot }) => {
  const server = await boot(own);
  const desk = await Desk.open(context, server, "#/settings");
  await expect(desk.card("In force")).toContainText("All is as it is written in the file");
  const all = desk.rows("All settings");
  const frame = all.filter({ hasText: "limits.frame" });
  await expect(frame).toContainText("32KiB");
  await expect(frame).toContainText(/file.*\.yaml:2/);
  await expect(frame).toContainText("at once");
  await expect(all.filter({ hasText: "apps[0].jwt.secret" })).toContainText("(hidden)");
  await expect(desk.page.locator("body")).not.toContainText(secret);
  await expect(all.filter({ hasText: "limits.queueFrames" })).toHaveCount(0);
  await desk.page.getByLabel("Defaults, too").check();
  await expect(all.filter({ hasText: "limits.queueFrames" })).toContainText("1000");
  await desk.page.getByLabel("Key", { exact: true }).fill("origins");
  await expect(all).toHaveCount(1);
  await expect(all).toContainText("https://shop.example");

  const ofApp = await server.makeKey("of an app", "ANZ", ["stats:read"]);
  const other = await Desk.open(context, server, "#/settings", ofApp.key);
  await expect(other.card("In force")).toContainText("admin keys only");
});

for (const colorScheme of ["light", "dark"] as const) {
  test(`settings in trouble look right and are accessible, ${colorScheme}`, async ({ browser, boot }, info) => {
    const server = await boot(own);
    const { key } = await server.makeKey("on call");
    const shown = inTrouble(await server.call<Settings>("GET", "/settings"));
    for (const [name, viewport] of Object.entries(sizes)) {
      const page = await (await browser.newContext({ colorScheme, viewport })).newPage();
      await page.route("**/v1/settings", (route) => route.fulfill({ json: shown }));
      await page.goto(`${server.origin}/operator#/settings`);
      const desk = new Desk(page);
      await desk.signIn(key);
      await expect(desk.rows("What is wrong")).toHaveCount(2);
      await expect(desk.rows("What is wrong").first()).toContainText("Commit 9b1c2a6c0b is not good");
      await expect(desk.rows("At the next start")).toHaveCount(2);
      await expect(desk.rows("All settings").filter({ hasText: "limits.frame" })).toContainText("switchboard.yaml:2 in commit 4f1d2a6c0b");
      await looksRight(page, colorScheme, `settings, ${name}, ${colorScheme}`, info.outputPath(`settings-${colorScheme}-${name}.png`));
      await page.context().close();
    }
  });
}
