// Shows a doctor's free slots in a form, and fills the date and time with the slot that the user clicks.
// <div data-slots="path" [data-doctor="D1"]>; without data-doctor the doctor is the one in the form's own field.
"use strict";
(() => {
  function prepare(container) {
    const form = container.closest("form");
    const field = (name) => form.elements.namedItem(name);
    let lastRequest = 0;

    async function load(since) {
      const doctor = container.dataset.doctor || field("doctor_id")?.value.trim();
      const thisRequest = ++lastRequest;
      if (!doctor) {
        container.textContent = container.dataset.hint;
        return;
      }
      const query = new URLSearchParams({ doctor_id: doctor });
      if (since) query.set("from", since);
      const response = await fetch(`${container.dataset.slots}?${query}`, { credentials: "same-origin" });
      if (thisRequest !== lastRequest || !response.ok) return;
      container.innerHTML = await response.text();
      markSelected();
    }

    function markSelected() {
      container.querySelectorAll("button[data-time]").forEach((button) => {
        const isSelected = button.dataset.date === field("date").value && button.dataset.time === field("time").value;
        button.setAttribute("aria-pressed", String(isSelected));
      });
      // Tab moves from day to day and the arrows from time to time, because a week has too many slots to tab through.
      container.querySelectorAll(".slot-times").forEach((day) => {
        const times = [...day.querySelectorAll("button")];
        const tabStop = times.find((button) => button.getAttribute("aria-pressed") === "true") ?? times[0];
        times.forEach((button) => (button.tabIndex = button === tabStop ? 0 : -1));
      });
    }

    container.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button?.dataset.time) {
        field("date").value = button.dataset.date;
        field("time").value = button.dataset.time;
        markSelected();
      } else if (button?.dataset.from) {
        load(button.dataset.from);
      }
    });
    container.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 2, ArrowLeft: -1, ArrowUp: -2 }[event.key];
      const times = [...(event.target.closest(".slot-times")?.querySelectorAll("button") ?? [])];
      const next = times[times.indexOf(event.target) + step];
      if (!next) return;
      event.preventDefault();
      next.focus();
    });
    form.addEventListener("change", (event) => {
      if (event.target.name === "doctor_id") load(field("date").value);
      else if (event.target.name === "date") load(event.target.value);
      else markSelected();
    });
    load(field("date").value);
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-slots]").forEach(prepare);
  });
})();
