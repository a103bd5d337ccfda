import "./devices.css";
import { byId, setText } from "../dom.js";
import { about } from "../server.js";
import { Access } from "./access.js";
import { DeviceCard } from "./device.js";
import { Numbers } from "./numbers.js";

/** Placed so that a and c match, and b does not match a. */
const presets = [
  { id: "a", lat: "1", lon: "1" },
  { id: "b", lat: "1", lon: "3" },
  { id: "c", lat: "1", lon: "2" },
  { id: "d", lat: "2", lon: "3" },
] as const;

const access = new Access();
const devices: DeviceCard[] = [];
for (const preset of presets) devices.push(new DeviceCard(preset, access, () => count()));
const numbers = new Numbers((key) => (access.key = key));

byId("devices", HTMLElement).append(...devices.map(({ element }) => element));
const known = await about();
byId("demo-hint", HTMLElement).hidden = !known.demo;
access.show(known.door);
for (const device of devices) device.takesToken = known.door === "jwt";
byId("page", HTMLElement).hidden = false; // all at once, so that nothing moves
await numbers.open();

/** Says in the bar how many are connected. */
function count(): void {
  const connected = devices.filter((device) => device.connected).length;
  document.body.dataset["state"] = connected === 0 ? "idle" : "online";
  setText(byId("pill-text", HTMLElement), connected === 0 ? "None connected" : `${connected} connected`);
}
