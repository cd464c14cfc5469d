"use strict";
// Click a column head to sort its table; a cell's data-v, where given, is what sorts.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => {
        const cell = row.cells[column];
        const value = cell.dataset.v ?? cell.textContent.trim();
        return { text: value, number: cell.dataset.v ? Number(value) : NaN };
      };
      const rows = [...body.rows].map((row) => ({ row, ...key(row) }));
      rows.sort((a, b) => {
        const gaps = Number(a.text === "") - Number(b.text === "");
        if (gaps) return gaps; // empty cells stay last
        const words = Number(Number.isNaN(a.number)) - Number(Number.isNaN(b.number));
        const order = words || (Number.isNaN(a.number) ? a.text.localeCompare(b.text) : a.number - b.number);
        return down ? -order : order;
      });
      body.append(...rows.map(({ row }) => row));
    });
  });
}
// A sound that occurs again is embedded once.
const players = [...document.querySelectorAll("audio")];
for (const player of players) if (player.dataset.same) player.src = players[Number(player.dataset.same)].src;
// One sound at a time.
document.addEventListener("play", (event) => {
  for (const player of players) if (player !== event.target) player.pause();
}, true);
