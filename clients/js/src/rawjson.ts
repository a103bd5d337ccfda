/**
 * Finds the text of one value inside valid JSON, so that content can be shown
 * byte for byte: numbers beyond double precision, escapes and key order stay
 * as they were sent. Returns undefined when the path does not exist.
 */
export function rawValue(json: string, path: readonly string[]): string | undefined {
  let at = skipSpace(json, 0);
  for (const key of path) {
    const found = findMember(json, at, key);
    if (found === undefined) return undefined;
    at = found;
  }
  return json.slice(at, valueEnd(json, at));
}

/** The start of the value of a member; the last one wins, as in JSON.parse. */
function findMember(json: string, at: number, wanted: string): number | undefined {
  if (json[at] !== "{") return undefined;
  let found: number | undefined;
  at = skipSpace(json, at + 1);
  while (at < json.length && json[at] === '"') {
    const keyEnd = stringEnd(json, at);
    const key: unknown = JSON.parse(json.slice(at, keyEnd));
    at = skipSpace(json, skipSpace(json, keyEnd) + 1); // the colon
    if (key === wanted) found = at;
    at = skipSpace(json, valueEnd(json, at));
    if (json[at] !== ",") break;
    at = skipSpace(json, at + 1);
  }
  return found;
}

function valueEnd(json: string, at: number): number {
  const first = json[at];
  if (first === '"') return stringEnd(json, at);
  if (first !== "{" && first !== "[") {
    while (at < json.length && !",]} \t\r\n".includes(json.charAt(at))) at++;
    return at;
  }
  let depth = 0;
  while (at < json.length) {
    const c = json[at];
    if (c === '"') {
      at = stringEnd(json, at);
      continue;
    }
    at++;
    if (c === "{" || c === "[") depth++;
    else if (c === "}" || c === "]") {
      depth--;
      if (depth === 0) break;
    }
  }
  return at;
}

/** The place after the closing quote of the string that starts at `at`. */
function stringEnd(json: string, at: number): number {
  at++;
  while (at < json.length && json[at] !== '"') at += json[at] === "\\" ? 2 : 1;
  return at + 1;
}

function skipSpace(json: string, at: number): number {
  while (at < json.length && " \t\r\n".includes(json.charAt(at))) at++;
  return at;
}
