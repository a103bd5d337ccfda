import nearUrl from "world-atlas/countries-50m.json?url";
import farUrl from "world-atlas/countries-110m.json?url";
import Feature from "ol/Feature.js";
import MultiLineString from "ol/geom/MultiLineString.js";
import Polygon from "ol/geom/Polygon.js";
import VectorLayer from "ol/layer/Vector.js";
import VectorSource from "ol/source/Vector.js";
import Fill from "ol/style/Fill.js";
import Stroke from "ol/style/Stroke.js";
import Style from "ol/style/Style.js";
import type { Position } from "geojson";
import type { Topology } from "topojson-specification";
import { Colours } from "../colours.js";
import { project, type Face } from "./faces.js";
import { outlines } from "./land.js";

/** From which metres a pixel on the finer outlines are drawn. */
const finerBelow = 9_000;

const stillTrying = 5_000;

/** The outlines of land, drawn by the map: coarse ones when one looks from afar, fine ones from near. */
export class LandLayers {
  readonly layer: VectorLayer;
  readonly #colours: Colours;
  readonly #known = new Map<string, Promise<Topology>>();
  #shown = "";

  constructor() {
    this.#colours = new Colours(() => this.layer.changed(), new AbortController().signal);
    const styles: Readonly<Record<string, () => Style>> = {
      land: () => new Style({ fill: new Fill({ color: this.#colours.of("--land") }) }),
      borders: () => new Style({ stroke: new Stroke({ color: this.#colours.of("--border"), width: 1 }) }),
      coasts: () => new Style({ stroke: new Stroke({ color: this.#colours.of("--coast"), width: 1 }) }),
    };
    this.layer = new VectorLayer({ source: new VectorSource(), style: (drawn) => styles[String(drawn.get("kind"))]?.(), updateWhileInteracting: true, updateWhileAnimating: true });
  }

  /** Shows what is right for a face, seen from so far away. */
  async show(face: Face, resolution: number): Promise<void> {
    const url = resolution < finerBelow ? nearUrl : farUrl;
    const wanted = `${face} ${url}`;
    if (this.#shown === wanted) return;
    // Until the fine outlines are there the coarse ones do, but not those of another face.
    if (!this.#shown.startsWith(face)) this.#draw([new Feature()]);
    this.#shown = wanted;
    try {
      const topology = await this.#topology(url);
      if (this.#shown === wanted) this.#draw(featuresOf(topology, face));
    } catch {
      // The people are what is looked for; the land is tried again.
      window.setTimeout(() => {
        if (this.#shown !== wanted) return;
        this.#shown = "";
        void this.show(face, resolution);
      }, stillTrying);
    }
  }

  #draw(features: Feature[]): void {
    const source = this.layer.getSource();
    source?.clear(true);
    source?.addFeatures(features);
  }

  #topology(url: string): Promise<Topology> {
    const known = this.#known.get(url);
    if (known !== undefined) return known;
    const loading = load(url);
    this.#known.set(url, loading);
    loading.catch(() => this.#known.delete(url));
    return loading;
  }
}

async function load(url: string): Promise<Topology> {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`the outlines are not there: ${answer.status}`);
  return (await answer.json()) as Topology;
}

function featuresOf(topology: Topology, face: Face): Feature[] {
  const onPlane = (line: Position[]): number[][] => line.map(([lon = 0, lat = 0]) => [...project(face, { lat, lon })]);
  const lines = (kind: string, all: Position[][]): Feature => new Feature({ kind, geometry: new MultiLineString(all.map(onPlane)) });
  const { land, coasts, borders } = outlines(topology, face);
  return [
    ...land.map((polygon) => new Feature({ kind: "land", geometry: new Polygon(polygon.map(onPlane)) })),
    lines("borders", borders),
    lines("coasts", coasts),
  ];
}
