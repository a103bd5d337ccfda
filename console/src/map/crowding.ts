/** Somebody, or some, at a point of the plane. */
export interface Dot {
  x: number;
  y: number;
  count: number;
  /** Of one user; empty for a count that the server gave. */
  id: string;
}

/** What is drawn as one. */
export interface Spot {
  x: number;
  y: number;
  count: number;
  dots: Dot[];
}

/**
 * Draws those together who would lie on each other: all in a square of the plane
 * of that side, if they are at least so many, and groups that are nearer than that
 * to each other, with whoever is half as near. The squares lie still, so that groups do.
 */
export function crowded(dots: readonly Dot[], side: number, least: number): Spot[] {
  const squares = new Map<string, Dot[]>();
  for (const dot of dots) {
    const square = `${Math.floor(dot.x / side)} ${Math.floor(dot.y / side)}`;
    const there = squares.get(square);
    if (there === undefined) squares.set(square, [dot]);
    else there.push(dot);
  }
  const alone: Spot[] = [];
  const groups: Spot[] = [];
  for (const there of squares.values()) {
    if (there.length < least) for (const dot of there) alone.push({ x: dot.x, y: dot.y, count: dot.count, dots: [dot] });
    else join(groups, together(there), side);
  }
  return [...alone.filter((one) => !joined(groups, one, side / 2)), ...groups];
}

/** Adds a group to those that there are, or to one that is near. */
function join(groups: Spot[], group: Spot, near: number): void {
  const at = groups.findIndex(({ x, y }) => Math.hypot(x - group.x, y - group.y) < near);
  const other = groups[at];
  if (other === undefined) groups.push(group);
  else groups[at] = together([...other.dots, ...group.dots]);
}

/** One spot in the middle of all, where more are nearer. */
function together(dots: Dot[]): Spot {
  const count = dots.reduce((sum, dot) => sum + dot.count, 0);
  const mean = (of: (dot: Dot) => number): number => dots.reduce((sum, dot) => sum + of(dot) * dot.count, 0) / count;
  return { x: mean((dot) => dot.x), y: mean((dot) => dot.y), count, dots };
}

/** Adds one to a group that is near enough; false: there is none. */
export function joined(spots: readonly Spot[], one: Spot, near: number): boolean {
  const found = spots.find(({ x, y, dots }) => dots.length > 1 && Math.hypot(x - one.x, y - one.y) < near);
  found?.dots.push(...one.dots);
  if (found !== undefined) found.count += one.count;
  return found !== undefined;
}
