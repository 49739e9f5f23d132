// Shows a doctor's free slots beneath a form and fills date and time with the one that is chosen.
// <div data-slots="path" [data-doctor="D1"]>; without data-doctor the form's own field says whose.
"use strict";
(() => {
  function prepare(place) {
    const form = place.closest("form");
    const field = (name) => form.elements.namedItem(name);
    let asked = 0;

    async function show(since) {
      const doctor = place.dataset.doctor || field("doctor_id")?.value.trim();
      const mine = ++asked;
      if (!doctor) {
        place.textContent = place.dataset.hint;
        return;
      }
      const query = new URLSearchParams({ doctor_id: doctor });
      if (since) query.set("from", since);
      const answer = await fetch(`${place.dataset.slots}?${query}`, { credentials: "same-origin" });
      if (mine !== asked || !answer.ok) return;
      place.innerHTML = await answer.text();
      mark();
    }

    function mark() {
      place.querySelectorAll("button[data-time]").forEach((button) => {
        const isChosen = button.dataset.date === field("date").value && button.dataset.time === field("time").value;
        button.setAttribute("aria-pressed", String(isChosen));
      });
      // Tab goes from day to day, the arrows from time to time: a week has more slots than anybody wants to tab through.
      place.querySelectorAll(".slot-times").forEach((day) => {
        const times = [...day.querySelectorAll("button")];
        const stop = times.find((button) => button.getAttribute("aria-pressed") === "true") ?? times[0];
        times.forEach((button) => (button.tabIndex = button === stop ? 0 : -1));
      });
    }

    place.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button?.dataset.time) {
        field("date").value = button.dataset.date;
        field("time").value = button.dataset.time;
        mark();
      } else if (button?.dataset.from) {
        show(button.dataset.from);
      }
    });
    place.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 2, ArrowLeft: -1, ArrowUp: -2 }[event.key];
      const times = [...(event.target.closest(".slot-times")?.querySelectorAll("button") ?? [])];
      const next = times[times.indexOf(event.target) + step];
      if (!next) return;
      event.preventDefault();
      next.focus();
    });
    form.addEventListener("change", (event) => {
      if (event.target.name === "doctor_id") show(field("date").value);
      else if (event.target.name === "date") show(event.target.value);
      else mark();
    });
    show(field("date").value);
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-slots]").forEach(prepare);
  });
})();
