// How numbers and times are written. Nothing here touches the page.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A count in full: 1,234,567. */
export function count(n: number): string {
  return whole.format(n);
}

/** A count in few characters: 950, 1.2 k, 34.5 M. */
export function short(n: number): string {
  const units = ["", "k", "M", "G", "T"];
  let at = 0;
  // What rounds to 1000 of a unit is 1 of the next.
  while (Math.abs(n) >= (at === 0 ? 999.5 : 999.95) && at < units.length - 1) {
    n /= 1000;
    at++;
  }
  return at === 0 ? whole.format(n) : `${digits(n, 1)} ${units[at] ?? ""}`;
}

/** A rate: a decimal where it is small, few characters where it is large. */
export function rate(perSecond: number): string {
  if (perSecond === 0) return "0";
  if (perSecond < 0.05) return "< 0.1";
  return perSecond < 99.95 ? digits(perSecond, 1) : short(perSecond);
}

/** An amount of data: 950 B, 1.5 KiB, 64 MiB. */
export function bytes(n: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (n >= (at === 0 ? 1023.5 : 1023.95) && at < units.length - 1) {
    n /= 1024;
    at++;
  }
  return `${at === 0 ? whole.format(n) : digits(n, 1)} ${units[at] ?? ""}`;
}

/** A short time: 850 µs, 1.3 ms, 2.5 s. */
export function seconds(s: number): string {
  if (s === 0) return "0";
  if (s < 0.0009995) return `${whole.format(s * 1e6)} µs`;
  return s < 0.9995 ? `${digits(s * 1000, s < 0.00995 ? 2 : 1)} ms` : `${digits(s, 1)} s`;
}

/** A long time in its two largest units: 3 d 4 h, 12 min 5 s. */
export function duration(s: number): string {
  const left = Math.max(Math.round(s), 0);
  const parts = [
    [Math.floor(left / 86400), "d"],
    [Math.floor(left / 3600) % 24, "h"],
    [Math.floor(left / 60) % 60, "min"],
    [left % 60, "s"],
  ] as const;
  const first = parts.findIndex(([n]) => n > 0);
  if (first < 0) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([n]) => n > 0)
    .map(([n, unit]) => `${n} ${unit}`)
    .join(" ");
}

/** How long ago, or how soon, in one unit: "just now", "5 min ago", "in 3 d". */
export function ago(at: number, now: number): string {
  const s = Math.round((now - at) / 1000);
  const far = Math.abs(s);
  if (far < 5) return "just now";
  const [n, unit] =
    far < 60 ? [far, "s"] : far < 3600 ? [Math.floor(far / 60), "min"] : far < 86400 ? [Math.floor(far / 3600), "h"] : [Math.floor(far / 86400), "d"];
  return s > 0 ? `${n} ${unit} ago` : `in ${n} ${unit}`;
}

/** A date and time in the reader's own zone: 2026-11-26 08:30:05. */
export function dateTime(at: number): string {
  const d = new Date(at);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${timeOfDay(at)}`;
}

/** A time of day in the reader's own zone: 08:30:05. */
export function timeOfDay(at: number): string {
  const d = new Date(at);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

/** "1 session", "2 sessions". */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

function two(n: number): string {
  return String(n).padStart(2, "0");
}

/** With so many decimals, but without zeros at the end. */
function digits(n: number, most: number): string {
  return new Intl.NumberFormat("en", { maximumFractionDigits: most }).format(n);
}
