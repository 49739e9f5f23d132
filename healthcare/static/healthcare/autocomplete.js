// Finds a patient or doctor by name while somebody types into a field that wants an id: <input data-find="path">.
"use strict";
(() => {
  const PAUSE_MS = 250;

  function prepare(input, number) {
    const list = document.createElement("datalist");
    list.id = `found-${number}`;
    const found = document.createElement("output");
    found.className = "finder-found";
    found.htmlFor = input.id;
    input.setAttribute("list", list.id);
    input.autocomplete = "off";
    input.after(list, found);
    let waiting = 0;
    let asked = 0;

    async function ask() {
      const words = input.value.trim();
      const mine = ++asked;
      const answer = await fetch(`${input.dataset.find}?q=${encodeURIComponent(words)}`, { credentials: "same-origin" });
      // Whoever typed on has asked again.
      if (mine !== asked || !answer.ok) return;
      const { results } = await answer.json();
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
      found.textContent = exact ? exact.label : "";
    }

    input.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(ask, PAUSE_MS);
    });
    if (input.value) ask();
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("input[data-find]").forEach(prepare);
  });
})();
