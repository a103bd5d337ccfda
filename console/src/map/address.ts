import { isFace, type Face } from "./faces.js";
import type { Place } from "./earth.js";

/** What an address of the page shows: #world/47.3769/8.5417/12. */
export interface Shown {
  face: Face;
  place: Place;
  zoom: number;
}

/** Reads what stands behind the "#"; undefined when that is no place. */
export function shownBy(hash: string): Shown | undefined {
  const [face = "", ...numbers] = hash.replace(/^#/, "").split("/");
  const [lat = Number.NaN, lon = Number.NaN, zoom = Number.NaN] = numbers.map((text) => (text === "" ? Number.NaN : Number(text)));
  const good = Math.abs(lat) <= 90 && Math.abs(lon) <= 180 && zoom >= 0 && zoom <= 30;
  return isFace(face) && good ? { face, place: { lat, lon }, zoom } : undefined;
}

export function addressOf({ face, place: { lat, lon }, zoom }: Shown): string {
  return `#${face}/${lat.toFixed(5)}/${lon.toFixed(5)}/${zoom.toFixed(2)}`;
}
