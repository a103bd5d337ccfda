import type { Page } from "@playwright/test";
import { expect, test } from "./fixtures.js";
import { ben, Tab } from "./tab.js";

const markup = `<img src=x onerror="window.hit=1"><script>window.hit=1</script><svg onload=window.hit=1><b>bold</b>`;
const hostile = [
  markup,
  `"><iframe srcdoc="<script>parent.hit=1</script>"></iframe>`,
  `</textarea></pre></li><style>*{display:none}</style>`,
  `javascript:window.hit=1`,
  `{{constructor.constructor('window.hit=1')()}} \${window.hit=1}`,
  "\u202Egnp.exe\u202C \u0000 \uFFFF 𝕏 ‏عربي",
];

/** Counts what only markup could have made. */
async function intruders(page: Page): Promise<number> {
  return page.locator("main :is(img, script, iframe, svg, style, object, embed)").count();
}

test("hostile content is shown as the text that it is", async ({ context, server }) => {
  const one = await Tab.as("Ann", context, server.origin);
  const two = await Tab.as("Ben", context, server.origin);
  const complaints: string[] = [];
  for (const { page } of [one, two]) page.on("console", (message) => complaints.push(message.text()));

  for (const text of hostile) await one.send(text);
  await expect(two.received).toHaveCount(hostile.length);
  expect(await two.received.evaluateAll((all) => all.map((one) => one.textContent))).toEqual(hostile);

  await one.choose("JSON");
  await one.content.fill(JSON.stringify({ [markup]: [markup], __proto__: null, constructor: markup }));
  await one.reference.fill(markup);
  await one.content.press("Control+Enter");
  await expect(two.received.last()).toContainText(JSON.stringify(markup));
  await expect(two.page.locator(".message.in code").last()).toHaveText(markup);

  await one.choose("Text");
  await one.send("x", markup);
  await expect(one.problems).not.toHaveCount(0);

  for (const { page } of [one, two]) {
    await page.bringToFront();
    for (const row of await page.locator(".frames summary").all()) await row.click();
    await expect(page.locator(".frames pre").first()).toBeVisible();
    expect(await intruders(page)).toBe(0);
    expect(await page.evaluate(() => "hit" in window)).toBe(false);
    await expect(page.locator(".pane").first()).toBeVisible();
  }
  expect(complaints).toEqual([]);
});

test("a hostile server cannot do more", async ({ page, server }) => {
  await page.routeWebSocket(/\/ws$/, (socket) => {
    socket.onMessage(() => {
      const frames = [
        { type: "AUTH_CLIENT_REPLY", data: { appId: markup, userId: markup, isAuthenticated: true } },
        { type: "MESSAGE", data: { from: markup, content: markup }, reference: markup, id: markup },
        { type: "USER_CONNECTED", data: { userId: markup } },
        { type: "DELIVER_FAILED", data: { code: markup, reason: markup, to: [markup] }, reference: markup },
        { type: markup, data: { markup } },
        { type: "MESSAGE", data: { content: { __proto__: markup } } },
        { type: "MESSAGE", data: { from: [], content: [] }, reference: {} },
      ];
      for (const frame of frames) socket.send(JSON.stringify(frame));
      for (const text of ["", "{", markup, '{"type":"MESSAGE"}', '"text"', "null"]) socket.send(text);
    });
  });
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(error.message));
  await page.goto(server.origin);
  await page.getByRole("button", { name: /^Ann/ }).click();
  await expect(page.locator(".notice").first()).toHaveText(`${markup} connected`);
  await expect(page.locator(".problem").first()).toContainText(markup);
  await expect(page.locator(".message.in")).not.toHaveCount(0);
  expect(await intruders(page)).toBe(0);
  expect(await page.evaluate(() => "hit" in window)).toBe(false);
  expect(faults).toEqual([]);
});

test("the page may not turn text into markup, nor run what is inline", async ({ page, server }) => {
  const answer = await page.goto(server.origin);
  const policy = answer?.headers()["content-security-policy"] ?? "";
  expect(policy).toContain("script-src 'self'");
  expect(policy).not.toContain("unsafe");
  expect(answer?.headers()["x-content-type-options"]).toBe("nosniff");
  const refused = await page.evaluate(() => {
    try {
      document.body.innerHTML = "<p>markup</p>";
      return "";
    } catch (error) {
      return String(error);
    }
  });
  expect(refused).toContain("TrustedHTML");
  const script = await page.evaluate(() => {
    const made = document.createElement("script");
    try {
      made.text = "window.hit = 1";
      document.body.append(made);
    } catch {
      // refused already here
    }
    return "hit" in window;
  });
  expect(script).toBe(false);
});

test("user IDs of others are never trusted as selectors or keys", async ({ context, server }) => {
  const one = await Tab.as("Ann", context, server.origin);
  await one.choose("Group");
  await one.send("x", `${ben} __proto__ constructor`);
  await expect(one.problems).toContainText("__proto__");
  await one.online();
});
