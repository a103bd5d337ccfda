import type { Instance, Service } from "./answers.js";
import { count, duration, plural } from "../format.js";
import type { Look } from "./members.js";

// What is told about services, in words. Nothing here touches the page.

/** How many rows the table has: there may be ten thousand instances. */
export const mostRows = 500;

/** An instance as the table has it. */
export interface ShownInstance {
  key: string;
  service: string;
  instance: string;
  url: string;
  weight: string;
  stays: string;
  since: string;
  meta: string;
  look: Look;
  health: string;
  healthSince: string | undefined;
  reason: string;
  inFlight: string;
}

const unknown = "–";

const looks: Readonly<Record<string, Look>> = { up: "good", healthy: "good", down: "bad", unhealthy: "bad", failing: "warn", open: "bad", "half-open": "warn", ejected: "warn" };

/** What is known of the services, brought up to date by the events of the stream. */
export class Services {
  readonly #known = new Map<string, readonly Instance[]>();

  /** Takes an event in; those of other types are for later versions of this page. */
  take(type: string, data: string): void {
    if (type === "service") this.#service(JSON.parse(data) as Service);
    if (type === "services") this.#only((JSON.parse(data) as { names: string[] }).names);
  }

  #service({ name, instances }: Service): void {
    if (instances.length === 0) this.#known.delete(name);
    else this.#known.set(name, instances);
  }

  /** Forgets those that have gone while nobody was told. */
  #only(names: readonly string[]): void {
    const there = new Set(names);
    for (const name of [...this.#known.keys()]) if (!there.has(name)) this.#known.delete(name);
  }

  /** All instances, by service and name. */
  get instances(): readonly Instance[] {
    return [...this.#known.keys()].sort(byText).flatMap((name) => this.#known.get(name) ?? []);
  }

  get summary(): string {
    const all = this.instances;
    if (all.length === 0) return "No service is there.";
    const bad = all.filter(({ health }) => health !== undefined && looks[health.state] === "bad").length;
    const shown = all.length > mostRows ? ` The first ${count(mostRows)} are shown.` : "";
    return `${plural(this.#known.size, "service")}, ${plural(all.length, "instance")}${bad === 0 ? "" : `, ${count(bad)} of them in trouble`}.${shown}`;
  }

  /** Whether a gateway looks at any of them. */
  get watched(): boolean {
    return this.instances.some(({ health, inFlight }) => health !== undefined || inFlight !== undefined);
  }

  get rows(): ShownInstance[] {
    return this.instances.slice(0, mostRows).map(shownInstance);
  }
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function shownInstance(one: Instance): ShownInstance {
  const { health } = one;
  return {
    key: `${one.service}/${one.instance}`,
    service: one.service,
    instance: one.instance,
    url: one.url,
    weight: count(one.weight),
    stays: staysWords(one),
    since: one.since,
    meta: Object.entries(one.meta ?? {})
      .sort(([a], [b]) => byText(a, b))
      .map(([name, value]) => `${name}=${value}`)
      .join("  "),
    look: health === undefined ? "quiet" : (looks[health.state] ?? "quiet"),
    health: health?.state ?? unknown,
    healthSince: health?.since,
    reason: health?.reason ?? "",
    inFlight: one.inFlight === undefined ? unknown : count(one.inFlight),
  };
}

/** How long an instance stays. */
function staysWords({ source, ttl }: Instance): string {
  if (source === "node") return "a node";
  if (source === "static") return "in the file";
  return ttl === undefined ? unknown : `${duration(ttl)} after it is renewed`;
}
