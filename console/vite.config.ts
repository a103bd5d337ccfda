import { readFileSync } from "node:fs";
import { defineConfig, type Plugin } from "vite";

const server = process.env["SWITCHBOARD_URL"] ?? "http://127.0.0.1:8088";

/** Puts the form at which people with accounts sign in into the pages that have it. */
const door: Plugin = {
  name: "door",
  transformIndexHtml: {
    order: "pre",
    handler: (page) => page.replace("      <!-- door.html -->\n", () => readFileSync(new URL("door.html", import.meta.url), "utf8")),
  },
};

// The server embeds dist/ (console.go). Every script and style is a file of its
// own with a hash in its name: the content security policy allows nothing
// inline, and hashed files are cached for ever.
export default defineConfig({
  base: "./",
  plugins: [door],
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    license: { fileName: "licenses.txt" }, // of what is bundled; the minifier drops them from the scripts
    // Five pages: messages at /, the operator's part at /operator, chat at /chat, devices at /devices, the map at /map.
    rolldownOptions: { input: { index: "index.html", operator: "operator.html", chat: "chat.html", devices: "devices.html", map: "map.html" } },
  },
  server: {
    // `npm run dev` next to a running server.
    proxy: {
      "/ws": { target: server, ws: true },
      "/console.json": { target: server },
      "/readyz": { target: server },
      "/v1": { target: server },
      "/device/": { target: server, ws: true },
    },
  },
});
