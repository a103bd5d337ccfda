import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { selfSigned } from "./certificate.js";
import { expect, test } from "./fixtures.js";
import { Tab } from "./tab.js";

test.use({ ignoreHTTPSErrors: true });

test("the console comes by https, its socket by wss, and nothing in clear", async ({ context, boot }) => {
  const folder = await mkdtemp(path.join(tmpdir(), "switchboard-tls-"));
  try {
    const [cert, key] = [path.join(folder, "cert.pem"), path.join(folder, "key.pem")];
    const made = selfSigned();
    await writeFile(cert, made.cert);
    await writeFile(key, made.key);
    const server = await boot(`apps: [{appName: ANZ, appId: app-id-343, authEnabled: false}]\ntls: {cert: "${cert}", key: "${key}"}\n`);
    expect(server.origin).toMatch(/^https:/);

    const asked: string[] = [];
    const said: string[] = [];
    context.on("request", (r) => asked.push(r.url()));
    context.on("console", (m) => m.type() === "error" && said.push(m.text()));
    const tab = await Tab.open(context, server.origin);
    tab.page.on("websocket", (w) => asked.push(w.url()));
    await tab.page.getByLabel("App ID").fill("app-id-343");
    await tab.page.getByLabel("User ID").fill("ANZ-7");
    await tab.page.getByRole("button", { name: "Sign in" }).click();
    await tab.online();
    await tab.send("by TLS", "ANZ-7");
    await expect(tab.received).toHaveText(["by TLS"]);

    expect(asked.some((url) => url.startsWith("wss://"))).toBe(true);
    expect(asked.filter((url) => !/^(https|wss|data|blob):/.test(url))).toEqual([]);
    expect(said).toEqual([]); // of content in clear, and of what the policy forbids
    const protocol = await tab.page.evaluate(() => (performance.getEntriesByType("navigation")[0] as PerformanceNavigationTiming).nextHopProtocol);
    expect(protocol).toBe("h2");
    expect(await context.cookies()).toEqual([]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
