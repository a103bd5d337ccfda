import { defineConfig } from "vite";

const server = process.env["SWITCHBOARD_URL"] ?? "http://127.0.0.1:8088";

// The server embeds dist/ (console.go). Every script and style is a file of its
// own with a hash in its name: the content security policy allows nothing
// inline, and hashed files are cached for ever.
export default defineConfig({
  base: "./",
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    license: { fileName: "licenses.txt" }, // of what is bundled; the minifier drops them from the scripts
    // Four pages: messages at /, the operator's part at /operator, chat at /chat, devices at /devices.
    rolldownOptions: { input: { index: "index.html", operator: "operator.html", chat: "chat.html", devices: "devices.html" } },
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
