import { defineConfig } from "@playwright/test";

// The machine's own Chromium and the real server; nothing is downloaded.
export default defineConfig({
  testDir: "e2e",
  outputDir: "test-results",
  timeout: 60_000,
  expect: { timeout: 10_000 },
  // Each test has a server and a browser's context of its own; one that waits leaves the machine to another.
  workers: 3,
  fullyParallel: true,
  forbidOnly: true,
  // As with the Go tests: on a machine that others use, too, one may find less time than it gives. The summary says so.
  retries: process.env["CI"] ? 1 : 0,
  reporter: [["list"]],
  use: {
    browserName: "chromium",
    viewport: { width: 1440, height: 900 },
    screenshot: "only-on-failure",
    launchOptions: {
      executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
      args: [
        "--no-sandbox",
        "--headless",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
  },
});
