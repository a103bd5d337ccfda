import OlMap from "ol/Map.js";
import View from "ol/View.js";
import { defaults } from "ol/interaction/defaults.js";
import Projection from "ol/proj/Projection.js";
import { addCoordinateTransforms, addProjection } from "ol/proj.js";
import type { Box, Place } from "./earth.js";
import { boxOf, copies, lastLat, project, quarter, unproject, type Extent, type Face, type XY } from "./faces.js";
import { metresAPixel } from "./grid.js";
import { GridLayer } from "./gridlayer.js";
import { LandLayers } from "./landlayers.js";
import { PeopleLayer, type Drawn, type Person } from "./peoplelayer.js";
import type { Dot, Spot } from "./crowding.js";
import { Tiles } from "./tiles.js";

export interface MapEvents {
  /** Something else is in view. */
  looked(): void;
  /** A place was pressed, and what is drawn there. */
  pressed(place: Place, drawn: Drawn | undefined): void;
  /** The pointer is over something that is drawn, at these pixels, or over nothing. */
  over(drawn: Drawn | undefined): void;
  /** Something else is drawn. */
  drawn(all: readonly Drawn[]): void;
  /** The tiles do not come any more, or come again. */
  tiles(): void;
}

/** How near one can go, in metres of the plane a pixel. */
const nearest = 0.3;

/** How much the view moves by itself, and for how long. */
const animationMs = 250;

/** At least so much is shown of a group that is opened. */
const groupMargin = 60;

const codes: Readonly<Record<Face, string>> = { world: "EPSG:3857", north: "north-pole", south: "south-pole" };

/** The map: one of three faces of the earth, with people on it. */
export class MapView {
  readonly people: PeopleLayer;
  readonly #target: HTMLElement;
  readonly #land = new LandLayers();
  readonly #grid = new GridLayer();
  readonly #tiles: Tiles | undefined;
  readonly #map: OlMap;
  readonly #looked: () => void;
  #face: Face = "world";

  constructor(target: HTMLElement, tiles: string, events: MapEvents) {
    this.#target = target;
    this.#looked = () => events.looked();
    for (const face of ["north", "south"] as const) register(face);
    this.people = new PeopleLayer(() => events.drawn(this.people.drawn));
    this.#tiles = tiles === "" ? undefined : new Tiles(tiles, () => this.#tilesChanged(events));
    this.#map = new OlMap({
      target,
      controls: [],
      interactions: defaults({ altShiftDragRotate: false, pinchRotate: false }),
      layers: this.#tiles === undefined ? [this.#land.layer] : [this.#land.layer, this.#tiles.layer],
      view: viewOf("world", { lat: 25, lon: 10 }, 1.6),
    });
    target.append(this.#grid.canvas, this.people.canvas);
    this.#map.on("postrender", () => this.#drawOver());
    this.#map.on("moveend", () => this.#arrived());
    this.#map.on("singleclick", ({ coordinate, pixel: [x = 0, y = 0] }) => events.pressed(unproject(this.#face, xyOf(coordinate)), this.people.at(x, y)));
    this.#map.on("pointermove", ({ dragging, pixel: [x = 0, y = 0] }) => events.over(dragging ? undefined : this.people.at(x, y)));
    target.addEventListener("pointerleave", () => events.over(undefined));
  }

  get face(): Face {
    return this.#face;
  }

  /** In the middle of what is shown. */
  get center(): Place {
    return unproject(this.#face, this.#center);
  }

  get zoom(): number {
    return this.#view.getZoom() ?? 0;
  }

  /** What is in view; undefined while the map has no size. */
  get box(): Box | undefined {
    return this.#extent === undefined ? undefined : boxOf(this.#face, this.#extent);
  }

  /** Whether a place can be seen. */
  shows(place: Place): boolean {
    const extent = this.#extent;
    if (extent === undefined) return false;
    const [x, y] = project(this.#face, place);
    return y >= extent[1] && y <= extent[3] && copies(this.#face, x, extent[0], extent[2]).length > 0;
  }

  /** Shows people and counts, each where it is. */
  show(people: readonly { id: string; name: string; place: Place }[], counts: readonly (Place & { count: number })[] | undefined, me: string): void {
    const persons = new Map<string, Person>(people.map(({ id, name, place }) => [id, { id, name, at: project(this.#face, place) }]));
    const dots = counts?.map((one): Dot => {
      const [x, y] = project(this.#face, one);
      return { x, y, count: one.count, id: "" };
    });
    this.people.show(persons, dots, me);
  }

  /** Turns to another face, or to another place. */
  look(face: Face, place: Place, zoom: number): void {
    if (face !== this.#face) this.people.jump();
    this.#face = face;
    this.#tiles?.layer.setVisible(face === "world");
    this.#map.setView(viewOf(face, place, zoom));
    this.#arrived(); // around the one pole the plane has the same numbers as around the other: the library sees no move
  }

  /** Brings a place into the middle, by the shorter way. */
  goTo(place: Place, zoom = this.zoom): void {
    const [x, y] = project(this.#face, place);
    const [from] = this.#center;
    const shifts = this.#face === "world" ? copies("world", x, from - quarter * 2, from + quarter * 2) : [0];
    this.#animate({ center: [x + (shifts[0] ?? 0), y], zoom });
  }

  /** Zooms in so that a group comes apart; false where it cannot. */
  unfold(spot: Spot): boolean {
    const resolution = this.#view.getResolution() ?? 1;
    const xs = spot.dots.map(({ x }) => x);
    const ys = spot.dots.map(({ y }) => y);
    const [width, height] = this.#size;
    const wide = Math.max((Math.max(...xs) - Math.min(...xs)) / (width - 2 * groupMargin), (Math.max(...ys) - Math.min(...ys)) / (height - 2 * groupMargin));
    const to = Math.max(Math.min(wide, resolution / 2), nearest, resolution / 64);
    if (to >= resolution) return false;
    const zoom = this.#view.getZoomForResolution(to) ?? this.zoom + 1;
    this.goTo(unproject(this.#face, [spot.x, spot.y]), zoom);
    return true;
  }

  zoomBy(steps: number): void {
    this.#animate({ center: [...this.#center], zoom: this.zoom + steps });
  }

  /** The map is on the page, maybe again, and has its size: what is in view is known. */
  open(): void {
    this.#map.updateSize();
    this.#arrived();
  }

  /** Metres on the earth a pixel, in the middle. */
  get metresAPixel(): number {
    return metresAPixel(this.#face, this.#center, this.#view.getResolution() ?? 1);
  }

  /** Whether the outlines stand for tiles that do not come. */
  get tilesFail(): boolean {
    return this.#face === "world" && this.#tiles?.failing === true;
  }

  /** The face on which a place can be seen, this one if it is on it. */
  faceFor({ lat }: Place): Face {
    const here = this.#face === "world" ? Math.abs(lat) <= lastLat : this.#face === "north" ? lat >= 0 : lat <= 0;
    return here ? this.#face : Math.abs(lat) <= lastLat ? "world" : lat > 0 ? "north" : "south";
  }

  #tilesChanged(events: MapEvents): void {
    this.#map.render();
    events.tiles();
  }

  #arrived(): void {
    void this.#land.show(this.#face, this.#view.getResolution() ?? 1);
    this.#looked();
  }

  #animate(to: { center: number[]; zoom: number }): void {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#view.cancelAnimations();
    this.#view.animate({ ...to, duration: still ? 0 : animationMs });
  }

  #drawOver(): void {
    const resolution = this.#view.getResolution();
    const extent = this.#extent;
    if (resolution === undefined || extent === undefined) return;
    const [face, size] = [this.#face, this.#size];
    // Where there are tiles nobody needs lines to see where he is.
    const bare = this.#tiles === undefined || face !== "world" || this.#tiles.failing;
    this.#grid.draw(bare ? { face, extent, resolution, size } : undefined);
    this.people.draw({ face, center: this.#center, resolution, size });
  }

  get #view(): View {
    return this.#map.getView();
  }

  get #center(): XY {
    return xyOf(this.#view.getCenter() ?? []);
  }

  get #size(): readonly [number, number] {
    const [width = this.#target.clientWidth, height = this.#target.clientHeight] = this.#map.getSize() ?? [];
    return [width, height];
  }

  get #extent(): Extent | undefined {
    const size = this.#map.getSize();
    const resolution = this.#view.getResolution();
    if (size === undefined || resolution === undefined || size.includes(0)) return undefined;
    const [left = 0, bottom = 0, right = 0, top = 0] = this.#view.calculateExtent(size);
    return [left, bottom, right, top];
  }
}

function xyOf([x = 0, y = 0]: readonly number[]): XY {
  return [x, y];
}

function viewOf(face: Face, place: Place, zoom: number): View {
  const center = [...project(face, place)];
  if (face === "world") return new View({ center, zoom, enableRotation: false, minResolution: nearest });
  const extent = [-quarter, -quarter, quarter, quarter];
  return new View({ projection: codes[face], center, zoom, extent, showFullExtent: true, enableRotation: false, minResolution: nearest });
}

/** Makes a pole's face known to the library. */
function register(face: "north" | "south"): void {
  addProjection(new Projection({ code: codes[face], units: "m", extent: [-2 * quarter, -2 * quarter, 2 * quarter, 2 * quarter] }));
  const degrees = (flat: number[]): number[] => {
    const { lat, lon } = unproject(face, xyOf(flat));
    return [lon, lat];
  };
  const plane = ([lon = 0, lat = 0]: number[]): number[] => [...project(face, { lat, lon })];
  addCoordinateTransforms("EPSG:4326", codes[face], plane, degrees);
  addCoordinateTransforms("EPSG:3857", codes[face], (at) => plane(worldDegrees(at)), (at) => [...project("world", unproject(face, xyOf(at)))]);
}

function worldDegrees(at: number[]): number[] {
  const { lat, lon } = unproject("world", xyOf(at));
  return [lon, lat];
}
