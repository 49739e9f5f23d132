// Adds and removes rows of a table of inputs: <div data-rows> with a <template> of a row. Without it spare rows stand there.
"use strict";
(() => {
  function prepare(table) {
    const body = table.querySelector("tbody");
    const model = table.querySelector("template").content;
    const add = table.querySelector("[data-add]");
    let next = body.rows.length;

    // One spare row is enough where more can be had.
    body.querySelectorAll("tr[data-spare]").forEach((row, index) => index && row.remove());
    table.querySelectorAll("[data-remove], [data-add]").forEach((button) => (button.hidden = false));

    add.addEventListener("click", () => {
      const row = model.cloneNode(true).querySelector("tr");
      const number = next++;
      row.querySelectorAll("[name]").forEach((cell) => {
        cell.name = cell.name.replace("__number__", number);
        cell.setAttribute("aria-label", cell.getAttribute("aria-label").replace("__number__", number + 1));
      });
      row.querySelector("[data-remove]").hidden = false;
      body.append(row);
      row.querySelector("input, select").focus();
    });

    body.addEventListener("click", (event) => {
      const button = event.target.closest("[data-remove]");
      if (!button) return;
      const row = button.closest("tr");
      const near = row.nextElementSibling ?? row.previousElementSibling;
      row.remove();
      (near?.querySelector("[data-remove]") ?? add).focus();
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-rows]").forEach(prepare);
  });
})();
