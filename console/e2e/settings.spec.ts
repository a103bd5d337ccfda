import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import type { Page } from "@playwright/test";
import type { Settings } from "../src/operator/answers.js";
import { problems, type ColorScheme } from "./axe.js";
import { Desk } from "./desk.js";
import { freePorts } from "./federation.js";
import { expect, test } from "./fixtures.js";
import { MetaServer } from "./server.js";

/** How long a change may take to be seen on a machine under test. */
const patience = { timeout: 30_000 };

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

test("a commit is on the page as soon as it is in force, and a bad one is told while nothing changes", async ({ context, boot }, info) => {
  const repo = info.outputPath("repo");
  const git = (...args: string[]): string => execFileSync("git", ["-C", repo, "-c", "user.name=test", "-c", "user.email=test@example.org", ...args], { encoding: "utf8" }).trim();
  const commit = async (limits: string): Promise<string> => {
    await writeFile(path.join(repo, "switchboard.yaml"), `apps: [{appName: ANZ, appId: app-id-343, authEnabled: false}]\nlimits: ${limits}\n`);
    git("add", "--all");
    git("commit", "--quiet", "--message", "a change");
    return git("rev-parse", "HEAD");
  };
  await mkdir(repo);
  git("init", "--quiet", "--initial-branch=main");
  await commit("{sessionsPerUser: 3}");
  const [port = 0] = await freePorts(1);
  const meta = await MetaServer.start(`127.0.0.1:${port}`, ["--git", repo, "--settings", "."], info.outputPath("meta"));
  try {
    const server = await boot(`settings: {url: "${meta.url}"}\n`);
    const desk = await Desk.open(context, server, "#/settings", (await server.makeKey("on call")).key);
    const limit = desk.rows("All settings").filter({ hasText: "limits.sessionsPerUser" });
    await expect(limit).toContainText("3");
    const good = await commit("{sessionsPerUser: 4}");
    await expect(desk.card("In force")).toContainText(good, patience);
    await expect(limit).toContainText(`switchboard.yaml:2 in commit ${good.slice(0, 10)}`);
    const bad = await commit('{sessionsPerUser: 5, frame: "<img src=x>"}');
    const wrong = desk.rows("What is wrong");
    await expect(wrong).toContainText(`Commit ${bad.slice(0, 10)} is not good`, patience);
    await expect(wrong).toContainText('limits.frame: "<img src=x>" is not a size');
    await expect(desk.card("In force")).toContainText(good);
    await expect(limit.getByRole("cell").nth(1)).toHaveText("4");
    const next = await commit("{sessionsPerUser: 6}");
    await expect(desk.card("In force")).toContainText(next, patience);
    await expect(wrong).toBeHidden();
  } finally {
    await meta.kill();
  }
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
