// What the theme leaves to the mouse, for those who use the keyboard or listen: see tests/browser/test_accessibility.py.
"use strict";
(() => {
  const REACHED = "a[href], button, input, label, select, summary, textarea";

  function prepare(part) {
    // The theme's menus, filters and closing crosses are plain elements that take a click.
    part.querySelectorAll("[x-on\\:click]").forEach((element) => {
      if (element.matches(REACHED) || element.hasAttribute("tabindex")) return;
      element.tabIndex = 0;
      element.setAttribute("role", "button");
      element.addEventListener("keydown", (event) => {
        if (event.target !== element || !["Enter", " "].includes(event.key)) return;
        event.preventDefault();
        element.click();
      });
    });
    // A label on a plain span is not read; Django's lists with two sides have such.
    part.querySelectorAll("span[aria-label]:not([role])").forEach((element) => element.setAttribute("role", "img"));
    const dialog = part.id === "dialog" ? part : part.querySelector("#dialog");
    if (dialog) {
      dialog.setAttribute("role", "dialog");
      dialog.setAttribute("aria-modal", "true");
      const title = dialog.querySelector("h1");
      if (title) dialog.setAttribute("aria-label", title.textContent.trim());
      // It becomes visible in the next moment, and only then takes the focus.
      setTimeout(() => dialog.querySelector("button[type=submit], button:not([type])")?.focus(), 50);
    }
  }

  const everything = () => prepare(document);
  document.addEventListener("DOMContentLoaded", () => {
    const main = document.getElementById("main") ?? document.getElementById("page");
    main?.setAttribute("role", "main");
  });
  document.addEventListener("alpine:initialized", everything);
  document.addEventListener("htmx:load", (event) => prepare(event.target));
  // Behind Django's own scripts, which wait for the same.
  window.addEventListener("load", () => setTimeout(everything, 0));
})();
