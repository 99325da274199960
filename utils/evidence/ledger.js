// Rows come below this script, so they are looked up when a reader first chooses something. Sorted
// rows move to a list of their own, and come home to their sections in the order of the book.
document.querySelectorAll(".ledger-controls").forEach((bar) => {
  const sorted = bar.parentElement.querySelector(".ledger-sorted");
  const filters = [...bar.querySelectorAll("select[data-filter]")];
  const order = bar.querySelector("select[data-order]"), count = bar.querySelector("output");
  let rows;
  const home = () => {
    rows ??= [...document.querySelectorAll(".ledger-box:not(.ledger-sorted) .ledger > li")].map(
      (row) => ({ row, home: row.parentElement }));
  };
  const fits = ({ dataset }) => filters.every(
    ({ value, dataset: { filter } }) => !value || dataset[filter].split("|").includes(value));
  const show = () => {
    home();
    const by = order.value, numbers = ["effect", "runs", "seconds"].includes(by);
    const compare = ({ row: a }, { row: b }) => numbers
      ? b.dataset[by] - a.dataset[by] : a.dataset[by].localeCompare(b.dataset[by]);
    rows.forEach(({ row }) => { row.hidden = !fits(row); });
    if (by === "book") rows.forEach(({ row, home }) => home.append(row));
    else sorted.querySelector("ul").append(...[...rows].sort(compare).map(({ row }) => row));
    sorted.hidden = by === "book";
    document.querySelectorAll(".ledger-box:not(.ledger-sorted)").forEach((box) => {
      (box.closest("section") ?? box).hidden = !box.querySelector(".ledger > li:not([hidden])");
    });
    const shown = rows.filter(({ row }) => !row.hidden).length;
    count.textContent = `${shown} of ${rows.length} claims`;
  };
  bar.querySelectorAll("select").forEach((select) => {
    select.disabled = false;
    select.onchange = show;
  });
  // A link to a claim opens it, and leads nowhere as long as a filter hides it.
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const details = target?.closest(".ledger > li")?.querySelector("details");
    if (details) details.open = true;
    if (!target?.closest("[hidden]")) return;
    filters.forEach((select) => { select.value = ""; });
    order.value = "book";
    show();
    location.replace(location.hash);
  };
  window.addEventListener("hashchange", reveal);
  document.addEventListener("DOMContentLoaded", reveal);
});
