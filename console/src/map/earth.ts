// Places on the earth, in degrees. Nothing here touches the page.

export interface Place {
  lat: number;
  lon: number;
}

/** A box: west, south, east, north; east is below west where it crosses the antimeridian. */
export type Box = [west: number, south: number, east: number, north: number];

/** Of the sphere that the server reckons with, in metres. */
const radius = 6372797.560856;

const rad = Math.PI / 180;

/** Metres from one place to another, as the server reckons them. */
export function distance(a: Place, b: Place): number {
  const u = Math.sin(((b.lat - a.lat) * rad) / 2);
  const v = Math.sin(((b.lon - a.lon) * rad) / 2);
  const h = u * u + Math.cos(a.lat * rad) * Math.cos(b.lat * rad) * v * v;
  return 2 * radius * Math.asin(Math.min(Math.sqrt(h), 1));
}

/** Whether that is a place at all. */
export function onEarth({ lat, lon }: Place): boolean {
  return Math.abs(lat) <= 90 && Math.abs(lon) <= 180;
}

/** A longitude from -180 to below 180. */
export function wrapped(lon: number): number {
  const from = (lon + 180) % 360;
  return (from < 0 ? from + 360 : from) - 180;
}

/** A distance for people: 85 m, 1.2 km, 4,310 km. */
export function distanceText(metres: number): string {
  if (metres < 999.5) return `${Math.round(metres)} m`;
  const km = metres / 1000;
  return km < 99.95 ? `${km.toFixed(1)} km` : `${Math.round(km).toLocaleString("en")} km`;
}

/** A place for people: 47.3769° N, 8.5417° E. */
export function placeText({ lat, lon }: Place): string {
  return `${Math.abs(lat).toFixed(4)}° ${lat < 0 ? "S" : "N"}, ${Math.abs(lon).toFixed(4)}° ${lon < 0 ? "W" : "E"}`;
}
