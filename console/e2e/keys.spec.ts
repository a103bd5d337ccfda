import { Desk } from "./desk.js";
import { expect, test } from "./fixtures.js";

/** What a key may do at once: the answer of a call, as a status. */
async function statusOf(origin: string, path: string, key: string): Promise<number> {
  const answer = await fetch(`${origin}/v1${path}`, { headers: { Authorization: `Bearer ${key}` } });
  return answer.status;
}

test("a key is made, shown once, works, and is revoked", async ({ context, server }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: server.origin });
  const desk = await Desk.open(context, server, "#/keys");
  const { page } = desk;
  await page.getByRole("button", { name: "New key" }).click();
  await expect(page.getByLabel("Name")).toBeFocused();
  await page.getByLabel("Name").fill("billing backend");
  await page.getByRole("combobox", { name: "For" }).selectOption("ANZ");
  await page.getByRole("button", { name: "Make key" }).click();
  await expect(desk.card("New key")).toContainText("Choose at least one scope.");
  await page.getByRole("checkbox", { name: /^users:read/ }).check();
  await page.getByRole("checkbox", { name: /^messages:send/ }).check();
  await page.getByRole("combobox", { name: "Expires" }).selectOption("in a week");
  await page.getByLabel("Name").press("Enter");

  const dialog = page.getByRole("dialog", { name: "The new key" });
  const key = (await dialog.locator(".secret").textContent()) ?? "";
  expect(key).toMatch(/^sb_[a-z2-7]{16}_[a-z2-7]{52}$/);
  await page.keyboard.press("Escape"); // it is not lost by a stray key
  await expect(dialog).toBeVisible();
  await dialog.getByRole("button", { name: "Copy" }).click();
  await expect(dialog).toContainText("Copied.");
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(key);
  await dialog.getByRole("button", { name: "I have kept it" }).click();
  await expect(page.locator("body")).not.toContainText(key);
  expect(await statusOf(server.origin, "/users", key)).toBe(200);
  expect(await statusOf(server.origin, "/keys", key)).toBe(403);

  const row = desk.rows("API keys").filter({ hasText: "billing backend" });
  await expect(row).toContainText("ANZ");
  await expect(row.locator("code.tag-soft")).toHaveText(["messages:send", "users:read"]);
  await expect(row).toContainText(/in [67] d/);
  await expect(row).toContainText(/just now|\d s ago/);
  await row.getByRole("button", { name: "Revoke key billing backend" }).click();
  await desk.confirm("Revoke");
  await expect(desk.said).toContainText("Revoked the key “billing backend”");
  await expect(row).toHaveCount(0);
  expect(await statusOf(server.origin, "/users", key)).toBe(401);
});

test("a key can be copied where the browser offers no clipboard", async ({ context, server }) => {
  const desk = await Desk.open(context, server, "#/keys");
  await desk.page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
  await desk.page.getByRole("button", { name: "New key" }).click();
  await desk.page.getByRole("combobox", { name: "For" }).selectOption({ label: "All apps (admin key)" });
  await expect(desk.page.getByRole("checkbox", { name: /^users:read/ })).toBeDisabled(); // it has all
  await desk.page.getByRole("button", { name: "Make key" }).click();
  await desk.page.getByRole("dialog").getByRole("button", { name: "Copy" }).click();
  await expect(desk.page.getByRole("dialog").locator(".copied")).not.toHaveText("");
  const selected = await desk.page.evaluate(() => getSelection()?.toString());
  expect(selected).toBe(await desk.page.locator(".secret").textContent());
});

test("revoking the key that one is signed in with is said before, and signs out", async ({ context, server }) => {
  const { key } = await server.makeKey("my own");
  const desk = await Desk.open(context, server, "#/keys", key);
  const row = desk.rows("API keys").filter({ hasText: "my own" });
  await expect(row).toContainText("yours");
  await row.getByRole("button", { name: /^Revoke/ }).click();
  await expect(desk.page.getByRole("dialog")).toContainText("you will be signed out");
  await desk.confirm("Revoke");
  await expect(desk.page.locator("#status")).toContainText("KEY_INVALID");
});

test("an app's key offers and makes only what it has itself", async ({ context, server }) => {
  const expiresAt = new Date(Date.now() + 5 * 86_400_000).toISOString();
  const { key } = await server.makeKey("lead", "ANZ", ["keys:manage", "users:read"], { expiresAt });
  const desk = await Desk.open(context, server, "#/keys", key);
  const { page } = desk;
  await expect(desk.rows("API keys")).toHaveCount(1); // no other app's, and no admin's
  await page.getByRole("button", { name: "New key" }).click();
  await expect(page.getByRole("combobox", { name: "For" }).locator("option")).toHaveText(["App ANZ"]);
  await expect(page.getByRole("combobox", { name: "Expires" }).locator("option").first()).toHaveText("in a day");
  await expect(page.getByRole("checkbox", { name: /^stats:read/ })).toBeDisabled();
  await page.getByRole("checkbox", { name: /^users:read/ }).check();
  await page.getByRole("combobox", { name: "Expires" }).selectOption("in 30 days");
  await page.getByRole("button", { name: "Make key" }).click();
  await expect(desk.card("New key")).toContainText("must not be later than that of the key that you use");
  await page.getByRole("combobox", { name: "Expires" }).selectOption("in a day");
  await page.getByRole("button", { name: "Make key" }).click();
  await page.getByRole("button", { name: "I have kept it" }).click();
  await expect(desk.rows("API keys")).toHaveCount(2);
});

test("a key may expire at a time of one's own, and one that has is marked", async ({ context, server }) => {
  await server.makeKey("short", "ANZ", ["users:read"], { expiresAt: new Date(Date.now() + 1_500).toISOString() });
  const desk = await Desk.open(context, server, "#/keys");
  const { page } = desk;
  await page.getByRole("button", { name: "New key" }).click();
  await expect(page.getByLabel("Expires at")).toBeHidden();
  await page.getByRole("combobox", { name: "Expires" }).selectOption("at a time …");
  await page.getByLabel("Expires at").fill("2020-01-01T10:00");
  await page.getByRole("combobox", { name: "For" }).selectOption("");
  await page.getByRole("button", { name: "Make key" }).click();
  await expect(desk.card("New key")).toContainText("is not in the future");
  await page.getByLabel("Expires at").fill("2099-01-01T10:00");
  await page.getByRole("button", { name: "Make key" }).click();
  await page.getByRole("button", { name: "I have kept it" }).click();
  await expect(desk.rows("API keys").last()).toContainText(/in \d{5} d/);
  await expect(desk.rows("API keys").filter({ hasText: "short" }).locator(".over")).toBeVisible({ timeout: 15_000 });
});
