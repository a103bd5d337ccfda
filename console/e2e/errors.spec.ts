import { expect, test } from "./fixtures.js";
import { ann, ben, Tab } from "./tab.js";

test("a refused sign-in says why, and can be corrected", async ({ context, server }) => {
  const tab = await Tab.open(context, server.origin);
  const signIn = tab.page.getByRole("button", { name: "Sign in" });
  await tab.page.getByLabel("User ID").fill("not a user ID");
  await signIn.click();
  await expect(tab.status).toContainText("Sign-in refused");
  await expect(tab.status).toContainText("BAD_USER_ID");
  await tab.page.getByLabel("User ID").fill(ann);
  await tab.page.getByLabel("App ID").fill("app-id-344");
  await signIn.click();
  await expect(tab.status).toContainText("WRONG_APP_ID");
  await tab.page.getByLabel("App ID").fill("app-id-343");
  await signIn.click();
  await tab.online();
  await expect(tab.status).toHaveText(`Signed in as ${ann}.`);
});

test("a wrong option of the sign-in is said under the buttons, once, and can be corrected", async ({ context, server }) => {
  const tab = await Tab.open(context, server.origin);
  const watch = tab.page.getByLabel("Watch presence of");
  const tries = tab.frames.filter({ hasText: /AUTH_CLIENT(?!_)/ });
  await watch.fill("ANZ-2, bad");
  await tab.page.getByRole("button", { name: "Sign in" }).click();
  await expect(tab.status).toContainText("Sign-in refused");
  await expect(tab.status).toContainText("BAD_FIELD");
  await expect(tab.problems).toHaveCount(0);
  await expect(tries).toHaveCount(1);
  await expect(watch).toBeEditable();
  await watch.fill("ANZ-2");
  await tab.page.getByRole("button", { name: "Sign in" }).click();
  await tab.online();
  await expect(tries).toHaveCount(2);
});

test("a message to a bad user ID fails visibly, and the session goes on", async ({ context, server }) => {
  const tab = await Tab.as("Ann", context, server.origin);
  await tab.send("to nobody", "nobody");
  await expect(tab.fates).toHaveText(["failed"]);
  await expect(tab.problems).toContainText("BAD_FIELD");
  await expect(tab.problems).toContainText("Reference");
  await tab.send("to an app that is none", "XYZ-1");
  await expect(tab.problems.last()).toContainText("UNKNOWN_APP");
  await tab.send("to myself", ann);
  await expect(tab.received).toHaveText(["to myself"]);
  await expect(tab.fates).toHaveText(["failed", "failed", "confirmed"]);
});

test("one bad user ID in a group is named, the others get the message", async ({ context, server }) => {
  const one = await Tab.as("Ann", context, server.origin);
  const two = await Tab.as("Ben", context, server.origin);
  await one.choose("Group");
  await one.send("hello", `${ben}, nobody`);
  await expect(two.received).toHaveText(["hello"]);
  await expect(one.problems).toContainText("nobody");
  await expect(one.fates).toHaveText(["stored"]);
});

test("an address that is none, and one where nobody listens, are told apart", async ({ context, server }) => {
  const tab = await Tab.open(context, server.origin);
  const signIn = tab.page.getByRole("button", { name: "Sign in" });
  await tab.page.getByLabel("Address").fill("nonsense");
  await signIn.click();
  await expect(tab.status).toContainText("must begin with ws:// or wss://");
  await tab.page.getByLabel("Address").fill("ws://127.0.0.1:1/ws");
  await signIn.click();
  await expect(tab.status).toContainText("cannot be reached");
  await expect(tab.page.getByRole("button", { name: "Try now" })).toBeVisible();
  await tab.page.getByRole("button", { name: "Sign out" }).click();
  await expect(tab.status).toHaveText("Signed out.");
});

test("what is too large is refused before it is sent", async ({ context, server }) => {
  const tab = await Tab.as("Ann", context, server.origin);
  await tab.content.fill("x".repeat(70_000));
  await tab.page.getByRole("button", { name: "Send" }).click();
  await expect(tab.page.locator("#send-note")).toContainText("the limit is 65536");
  await expect(tab.sent).toHaveCount(0);
  await tab.online();
});

test("signing out ends the session; signing in again finds what came meanwhile", async ({ context, server }) => {
  const one = await Tab.as("Ann", context, server.origin);
  const two = await Tab.as("Ben", context, server.origin);
  await two.page.getByRole("button", { name: "Sign out" }).click();
  await expect(one.notices.last()).toHaveText(`${ben} disconnected`);
  await one.send("while you were out");
  await expect(one.fates).toHaveText(["stored"]);
  await two.page.getByRole("button", { name: "Sign in" }).click();
  await two.online();
  await two.fetch(10);
  await expect(two.received).toHaveText(["while you were out"]);
  await expect(one.fates).toHaveText(["confirmed"]);
});
