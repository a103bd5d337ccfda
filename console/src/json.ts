/** Why a text is not JSON, in one sentence; undefined when it is. */
export function jsonProblem(text: string): string | undefined {
  if (text.trim() === "") return "Not JSON yet: there is nothing.";
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return `Not JSON yet: ${reason.replace(/\s+/g, " ")}`;
  }
}

/**
 * Lays valid JSON out over lines. Only white space between tokens changes:
 * numbers, escapes and the order of keys stay as they are on the wire, which
 * JSON.parse and JSON.stringify would not promise. Other text is returned as
 * it is.
 */
export function prettyJson(text: string): string {
  if (jsonProblem(text) !== undefined) return text;
  const out: string[] = [];
  let depth = 0;
  let opened = false; // by the token before
  const newline = (): void => void out.push("\n", "  ".repeat(depth));
  for (const [token] of text.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/g)) {
    const opens = token === "{" || token === "[";
    if (token === "}" || token === "]") {
      depth--;
      if (!opened) newline();
      out.push(token);
    } else {
      if (opened) newline();
      out.push(token === ":" ? ": " : token);
      if (token === ",") newline();
      if (opens) depth++;
    }
    opened = opens;
  }
  return out.join("");
}

/** The user IDs in a text, divided by commas or white space. */
export function userList(text: string): string[] {
  return text.split(/[\s,;]+/).filter((one) => one !== "");
}

/**
 * The texts of a member of each element of a list: of {"list":[{"member":1.0},…]}
 * those that stand at list and member. Numbers, escapes and the order of keys stay
 * as they are on the wire. The text must be valid JSON.
 */
export function memberTexts(text: string, list: string, member: string): string[] {
  const found: string[] = [];
  let depth = 0; // 1 in the object, 2 in its list, 3 in an element
  let key = "";
  let inList = false;
  let start = -1;
  const end = (at: number): void => {
    if (depth === 3 && start >= 0) found.push(text.slice(start, at).trimEnd());
    if (depth === 3) start = -1;
  };
  for (const { 0: token, index } of text.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"(?:\s*:)?|[{}[\],]|[^\s{}[\],:"]+/g)) {
    if (token.endsWith(":")) {
      key = JSON.parse(token.slice(0, -1)) as string;
    } else if (token === ",") {
      end(index);
    } else if (token === "}" || token === "]") {
      end(index);
      depth--;
    } else {
      if (depth === 1) inList = key === list && token === "[";
      else if (depth === 3 && inList && key === member) start = index;
      if (token === "{" || token === "[") depth++;
    }
  }
  return found;
}
