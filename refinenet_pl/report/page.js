"use strict";
// A click on a heading sorts its table by that column, a second click reverses the order. Empty cells stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      // Numbers start with the highest, the first column with the original order.
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
