"""The style of the page about results, beside that of reports, and the script that sorts."""

CSS = """
body { max-width: 72rem; }
pre { background: var(--box); border-radius: .4rem; padding: .6rem .8rem; margin: 0;
  font: .9rem/1.5 ui-monospace, monospace; overflow-wrap: normal; }
code { font: .85em ui-monospace, monospace; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr));
  gap: 0 2rem; align-items: start; }
.figures > .wide { grid-column: 1 / -1; }
.wide figure { max-width: 56rem; }
.wide figure img { min-width: 44rem; }
.sortable td { white-space: nowrap; }
.sortable td.text { white-space: normal; min-width: 18rem; }
.sortable thead button { all: unset; cursor: pointer; font-weight: 600; }
.sortable thead button:focus-visible { outline: 2px solid var(--bar); }
.sortable thead button::after { content: "\\00a0\\2195"; color: var(--soft); font-weight: 400; }
.sortable th[aria-sort="ascending"] button::after { content: "\\00a0\\2191"; }
.sortable th[aria-sort="descending"] button::after { content: "\\00a0\\2193"; }
.sortable tbody th > span { max-width: 24rem; }
@media (max-width: 40rem) { .sortable tbody th > span { max-width: 11rem; } }
"""

SCRIPT = """
"use strict";
// What a cell is sorted by: a number if it is one; cells without any stay last.
function key(row, column) {
  const cell = row.cells[column];
  const text = (cell.dataset.sort ?? cell.textContent).replaceAll(",", "").trim();
  return text === "" ? null : Number.isNaN(Number(text)) ? text.toLowerCase() : Number(text);
}
function compared(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return sign * (typeof a === "number" ? a - b : a.localeCompare(b));
}
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort by this column";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = head.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
      const sign = order === "ascending" ? 1 : -1;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const rows = [...body.rows];
      rows.sort((a, b) => compared(key(a, column), key(b, column), sign));
      body.append(...rows);
    });
  });
}
"""
