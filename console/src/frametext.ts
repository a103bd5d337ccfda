/** The type of a frame, as it is shown in a list. */
export function frameType(text: string): string {
  try {
    const frame: unknown = JSON.parse(text);
    if (typeof frame === "object" && frame !== null && "type" in frame) return String(frame.type);
  } catch {
    // said below
  }
  return "no frame";
}

/** The beginning of a frame, without the type that is shown before it and the frame's own braces. */
export function framePreview(text: string, type: string): string {
  const start = `{"type":${JSON.stringify(type)},`;
  if (!text.startsWith(start)) return text.slice(0, 300);
  const rest = text.slice(start.length).trimEnd().replace(/}$/, "").slice(0, 300);
  return rest.startsWith('"data":') ? rest.slice(7) : rest;
}
