"use strict";
// Tables are sorted by the column whose heading is pressed; pressed again, the other way round. Empty cells stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      // Best first is what one wants of figures, and the given order of the first column.
      const sorted = heading.getAttribute("aria-sort");
      const direction = sorted ? (sorted === "ascending" ? "descending" : "ascending") : column ? "descending" : "ascending";
      const sign = direction === "ascending" ? 1 : -1;
      const value = (row) => row.cells[column].dataset.value;
      const rows = [...table.tBodies[0].rows].sort((one, other) => {
        const [a, b] = [value(one), value(other)];
        if (a === "" || b === "") return (a === "") - (b === "");
        return sign * (Number(a) - Number(b));
      });
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", direction);
      table.tBodies[0].append(...rows);
    });
  });
}
