import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

// From build/test/.
const root = fileURLToPath(new URL("../../../../", import.meta.url));
const run = promisify(execFile);

test("a program of one's own gets the client as the README says", async (t) => {
  const readme = await readFile(path.join(root, "clients/js/README.md"), "utf8");
  const build = "npm run build -w @switchboard/client";
  const install = "npm install PATH/TO/YOUR/CLONE/clients/js";
  assert.ok(readme.includes(`\n${build}\n`) && readme.includes(`\n${install}\n`));
  const folder = await mkdtemp(path.join(tmpdir(), "switchboard-client-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await writeFile(path.join(folder, "package.json"), '{"private":true,"type":"module"}');
  await writeFile(path.join(folder, "main.js"), 'import { Client } from "@switchboard/client";\nconsole.log(typeof Client);\n');
  const [npm, ...words] = build.split(" ");
  await run(npm ?? "", words, { cwd: root });
  const args = install.replace("PATH/TO/YOUR/CLONE/", root).split(" ").slice(1);
  await run("npm", [...args, "--offline", "--no-audit", "--no-fund"], { cwd: folder });
  const { stdout } = await run(process.execPath, ["main.js"], { cwd: folder });
  assert.equal(stdout, "function\n");
});

test("every page and package asks for the same Node", async () => {
  for (const [file, text] of [
    ["README.md", "Node 20.19 or later"],
    ["CONTRIBUTING.md", "Node 20.19 or later"],
    ["docs/console.md", "Node 20.19 or later"],
    ["clients/js/README.md", "Node 20.19 or later"],
    ["package.json", '"node": ">=20.19"'],
    ["clients/js/package.json", '"node": ">=20.19"'],
  ] as const) {
    const content = (await readFile(path.join(root, file), "utf8")).replace(/\s+/g, " ");
    assert.ok(content.includes(text), `${file} does not say: ${text}`);
  }
});
