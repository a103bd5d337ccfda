/**
 * Copies a text that stands on the page; resolves to whether it did. Where the
 * page did not come over TLS or from this machine, browsers offer the old way only.
 */
export async function copy(text: string, where: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection()?.selectAllChildren(where);
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- nothing else works there
    return document.execCommand("copy");
  }
}
