// Suggests patients, doctors or accounts while the user types into a field for an id: <input data-autocomplete="path">.
"use strict";
(() => {
  const DELAY_MS = 250;

  function prepare(input, number) {
    const list = document.createElement("datalist");
    list.id = `suggestions-${number}`;
    const match = document.createElement("output");
    match.className = "autocomplete-match";
    match.htmlFor = input.id;
    input.setAttribute("list", list.id);
    input.autocomplete = "off";
    input.after(list, match);
    let timer = 0;
    let lastRequest = 0;

    async function load() {
      const words = input.value.trim();
      const thisRequest = ++lastRequest;
      const path = `${input.dataset.autocomplete}?q=${encodeURIComponent(words)}`;
      const response = await fetch(path, { credentials: "same-origin" });
      // A response to an earlier text may arrive after the one to the present text.
      if (thisRequest !== lastRequest || !response.ok) return;
      const { results } = await response.json();
      list.replaceChildren(
        ...results.map(({ id, label }) => {
          const option = document.createElement("option");
          option.value = id;
          option.label = label;
          option.textContent = label;
          return option;
        }),
      );
      const exact = results.find(({ id }) => id === words);
      match.textContent = exact ? exact.label : "";
    }

    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(load, DELAY_MS);
    });
    if (input.value) load();
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("input[data-autocomplete]").forEach(prepare);
  });
})();
