// Makes parts of the theme usable by keyboard and by screen readers that otherwise react only to the mouse. The test is
// tests/browser/test_accessibility.py.
"use strict";
(() => {
  const FOCUSABLE = "a[href], button, input, label, select, summary, textarea";

  // The dialog becomes visible after the event and cannot take the focus before, so this tries for two seconds.
  function focusWhenVisible(button, attempts = 40) {
    if (!button?.isConnected || !attempts) return;
    setTimeout(() => {
      button.focus();
      if (document.activeElement !== button) focusWhenVisible(button, attempts - 1);
    }, 50);
  }

  function prepare(part) {
    // The theme's menus, filters and close buttons are plain elements with a click handler.
    part.querySelectorAll("[x-on\\:click]").forEach((element) => {
      if (element.matches(FOCUSABLE) || element.hasAttribute("tabindex")) return;
      element.tabIndex = 0;
      element.setAttribute("role", "button");
      element.addEventListener("keydown", (event) => {
        if (event.target !== element || !["Enter", " "].includes(event.key)) return;
        event.preventDefault();
        element.click();
      });
    });
    // Screen readers ignore the label of a span without a role. Django's two-sided lists have such spans.
    part.querySelectorAll("span[aria-label]:not([role])").forEach((element) => element.setAttribute("role", "img"));
    const dialog = part.id === "dialog" ? part : part.querySelector("#dialog");
    if (dialog) {
      dialog.setAttribute("role", "dialog");
      dialog.setAttribute("aria-modal", "true");
      const title = dialog.querySelector("h1");
      if (title) dialog.setAttribute("aria-label", title.textContent.trim());
      focusWhenVisible(dialog.querySelector("button[type=submit], button:not([type])"));
    }
  }

  const prepareDocument = () => prepare(document);
  document.addEventListener("DOMContentLoaded", () => {
    const main = document.getElementById("main") ?? document.getElementById("page");
    main?.setAttribute("role", "main");
  });
  document.addEventListener("alpine:initialized", prepareDocument);
  document.addEventListener("htmx:load", (event) => prepare(event.target));
  // Django's own scripts wait for the load event, too, and add elements.
  window.addEventListener("load", () => setTimeout(prepareDocument, 0));
})();
