// Adds and removes rows of a formset's table: <div data-row-table> with a <template> of a row.
// Without JavaScript the table has some empty rows instead.
"use strict";
(() => {
  function prepare(table) {
    const body = table.querySelector("tbody");
    const template = table.querySelector("template").content;
    const add = table.querySelector("[data-add]");
    const total = table.querySelector("[name$=-TOTAL_FORMS]");

    // The server expects the rows to be numbered without gaps.
    function renumber() {
      [...body.rows].forEach((row, index) => {
        row.querySelectorAll("[name]").forEach((input) => {
          input.name = input.name.replace(/-(\d+|__prefix__)-/, `-${index}-`);
          input.setAttribute("aria-label", input.getAttribute("aria-label").replace(/\S+$/, index + 1));
        });
      });
      total.value = body.rows.length;
    }

    // One empty row is enough, because the button adds more.
    body.querySelectorAll("tr[data-spare]").forEach((row, index) => index && row.remove());
    table.querySelectorAll("[data-remove], [data-add]").forEach((button) => (button.hidden = false));
    renumber();

    add.addEventListener("click", () => {
      const row = template.cloneNode(true).querySelector("tr");
      row.querySelector("[data-remove]").hidden = false;
      body.append(row);
      renumber();
      row.querySelector("input, select").focus();
    });

    body.addEventListener("click", (event) => {
      const button = event.target.closest("[data-remove]");
      if (!button) return;
      const row = button.closest("tr");
      const neighbour = row.nextElementSibling ?? row.previousElementSibling;
      row.remove();
      renumber();
      (neighbour?.querySelector("[data-remove]") ?? add).focus();
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-row-table]").forEach(prepare);
  });
})();
