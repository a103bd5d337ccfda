// The operator's pages have addresses behind the "#", so that they can be linked
// to, and so that no user ID gets into a server's or a proxy's log.

export type Route =
  | { page: "overview" }
  | { page: "users"; app: string }
  | { page: "user"; userId: string }
  | { page: "sessions"; app: string }
  | { page: "keys" }
  | { page: "webhooks"; app: string }
  | { page: "webhook"; app: string; name: string; state: string }
  | { page: "domains"; user: string }
  | { page: "cluster" }
  | { page: "relay" }
  | { page: "services" }
  | { page: "unknown" };

export const overview: Route = { page: "overview" };

/** What a hash names; "" is the overview. An empty app is whichever is chosen. */
export function parseRoute(hash: string): Route {
  const [path = "", search = ""] = hash.replace(/^#/, "").split("?", 2);
  const query = new URLSearchParams(search);
  const app = query.get("app") ?? "";
  const [first = "", second, ...more] = path.split("/").filter((part) => part !== "").map(decode);
  if (more.length > 0) return { page: "unknown" };
  if (second !== undefined) {
    if (first === "users") return { page: "user", userId: second };
    if (first === "webhooks") return { page: "webhook", name: second, app, state: query.get("state") ?? "" };
    return { page: "unknown" };
  }
  switch (first) {
    case "":
    case "overview":
      return overview;
    case "keys":
    case "cluster":
    case "relay":
    case "services":
      return { page: first };
    case "domains":
      return { page: first, user: query.get("user") ?? "" };
    case "users":
    case "sessions":
    case "webhooks":
      return { page: first, app };
    default:
      return { page: "unknown" };
  }
}

/** The address of a page. */
export function hrefOf(route: Route): string {
  const path: string[] = [partOf(route)];
  if (route.page === "user") path.push(route.userId);
  if (route.page === "webhook") path.push(route.name);
  const query = new URLSearchParams();
  if ("app" in route && route.app !== "") query.set("app", route.app);
  if ("state" in route && route.state !== "") query.set("state", route.state);
  if ("user" in route && route.user !== "") query.set("user", route.user);
  const search = query.size === 0 ? "" : `?${query.toString()}`;
  return `#/${path.map(encodeURIComponent).join("/")}${search}`;
}

/** The part of the operator's pages that a page belongs to. */
export function partOf(route: Route): "overview" | "users" | "sessions" | "keys" | "webhooks" | "domains" | "cluster" | "relay" | "services" {
  switch (route.page) {
    case "user":
      return "users";
    case "webhook":
      return "webhooks";
    case "unknown":
      return "overview";
    default:
      return route.page;
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // somebody typed a lone %
  }
}
