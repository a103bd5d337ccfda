import { paste } from "./example.js";
import { test } from "./fixtures.js";

test("the README's example does what it says when it is pasted into the page's console", async ({ page, server }) => {
  await paste(page, server, "README.md", "browser");
});
