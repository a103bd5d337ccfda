import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "./fixtures.js";

const readme = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../README.md");

/** The browser's example as printed, and what the sentence behind it says that it logs. */
async function example(): Promise<{ code: string; logs: string[] }> {
  const text = await readFile(readme, "utf8");
  const found = /<!-- example: browser -->\n```js\n([^]*?)\n```\n\n(It logs [^]*?)\n\n/.exec(text);
  if (found?.[1] === undefined || found[2] === undefined) throw new Error("README.md has no example for a browser");
  return { code: found[1], logs: Array.from(found[2].matchAll(/`([^`]*)`/g), (match) => match[1] ?? "") };
}

test("the README's example does what it says when it is pasted into the page's console", async ({ page, server }) => {
  const { code, logs } = await example();
  expect(code.split("127.0.0.1:8088")).toHaveLength(2);
  const logged: string[] = [];
  page.on("console", (message) => logged.push(message.text()));
  await page.goto(server.origin);
  // What is pasted into the console is evaluated in this way.
  const devtools = await page.context().newCDPSession(page);
  const { exceptionDetails } = await devtools.send("Runtime.evaluate", {
    expression: code.replace("127.0.0.1:8088", new URL(server.origin).host),
    replMode: true,
  });
  expect(exceptionDetails).toBeUndefined();
  await expect.poll(() => logged.length).toBeGreaterThanOrEqual(logs.length);
  // Where the README names the type only, it leaves the data out.
  expect(logged.map((line, i) => (logs[i]?.includes(" ") === false ? line.split(" ")[0] : line))).toEqual(logs);
});
