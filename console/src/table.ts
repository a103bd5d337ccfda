import { element, setText } from "./dom.js";

export interface Column<T> {
  /** Its heading; shown beside the value on narrow screens. */
  head: string;
  /** Says what the column is for where its heading is only for screen readers. */
  hideHead?: boolean;
  className?: string;
  /**
   * Fills a cell: once with fresh set, and again whenever its item is looked at
   * anew. What is not changed must be left alone: it may have the focus.
   */
  fill(cell: HTMLElement, item: T, fresh: boolean): void;
}

/**
 * A table whose rows are brought up to date instead of made anew, so that focus
 * and selection stay, and nothing flickers. On narrow screens its rows are shown
 * as cards; the roles keep it a table for screen readers there.
 */
export class Table<T> {
  readonly element: HTMLElement;
  readonly #columns: readonly Column<T>[];
  readonly #keyOf: (item: T) => string;
  readonly #table: HTMLTableElement;
  readonly #body: HTMLTableSectionElement;
  readonly #empty: HTMLElement;
  #rows = new Map<string, HTMLTableRowElement>();

  constructor(parts: { caption: string; columns: readonly Column<T>[]; keyOf: (item: T) => string; empty: string; narrow?: "cards" | "table" }) {
    this.#columns = parts.columns;
    this.#keyOf = parts.keyOf;
    this.#body = withRole(element("tbody"), "rowgroup");
    const heads = parts.columns.map(({ head, hideHead, className }) => {
      const cell = withRole(element("th", className ?? ""), "columnheader");
      cell.scope = "col";
      cell.append(hideHead === true ? element("span", "visually-hidden", head) : head);
      return cell;
    });
    const headRow = withRole(element("tr", "", ...heads), "row");
    this.#table = withRole(
      element("table", "", element("caption", "visually-hidden", parts.caption), withRole(element("thead", "", headRow), "rowgroup"), this.#body),
      "table",
    );
    this.#empty = element("p", "empty-list", parts.empty);
    this.#empty.hidden = true;
    this.#table.hidden = true;
    this.element = element("div", parts.narrow === "table" ? "table-frame" : "table-frame cards", this.#table, this.#empty);
  }

  /** Shows these, in this order. Keys that come twice are shown once. */
  show(items: readonly T[]): void {
    const rows = new Map<string, HTMLTableRowElement>();
    for (const item of items) {
      const key = this.#keyOf(item);
      if (!rows.has(key)) rows.set(key, this.#row(key, item));
    }
    this.#rows = rows;
    let at: Element | null = this.#body.firstElementChild;
    for (const row of rows.values()) {
      if (row === at) at = at.nextElementSibling;
      else this.#body.insertBefore(row, at);
    }
    while (at !== null) {
      const gone = at;
      at = at.nextElementSibling;
      gone.remove();
    }
    this.#table.hidden = rows.size === 0;
    this.#empty.hidden = rows.size > 0;
  }

  set empty(text: string) {
    setText(this.#empty, text);
  }

  #row(key: string, item: T): HTMLTableRowElement {
    const known = this.#rows.get(key);
    const row = known ?? withRole(element("tr"), "row");
    for (const [i, column] of this.#columns.entries()) {
      const cell = known === undefined ? row.insertCell() : row.cells[i];
      if (cell === undefined) continue;
      if (known === undefined) {
        cell.className = column.className ?? "";
        cell.dataset["head"] = column.hideHead === true ? "" : column.head;
        cell.role = "cell";
      }
      column.fill(cell, item, known === undefined);
    }
    return row;
  }
}

function withRole<E extends HTMLElement>(made: E, role: string): E {
  made.role = role;
  return made;
}
