// Live pages: the server says that something has changed, and the main part of this page is fetched anew.
// However often it changes, a page is fetched every few seconds at most, and not by all readers at the same moment.
// Nothing is replaced while a form field is being filled in; without JavaScript a reload does the same.
"use strict";
(() => {
  if (!window.EventSource) return;
  const said = document.getElementById("live");
  const LEAST = 5000, APART = 1000; // ms between two fetches, and by which readers differ
  let seen = null, waiting = false, last = 0;

  function soon() {
    if (waiting) return;
    waiting = true;
    const rest = Math.max(0, last + LEAST - Date.now());
    setTimeout(async () => {
      last = Date.now();
      waiting = false;
      await refresh();
    }, rest + APART * Math.random());
  }

  async function refresh() {
    const active = document.activeElement;
    if (active && active.matches("input, textarea, select")) return;
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const open = [...document.querySelectorAll("main details")].map((one) => one.open);
    document.getElementById("main").replaceChildren(...fresh.getElementById("main").childNodes);
    document.querySelectorAll("main details").forEach((one, i) => { if (i < open.length) one.open = open[i]; });
    document.querySelector(".intro").replaceWith(fresh.querySelector(".intro"));
    said.hidden = false;
    said.textContent = "Live, last change " + new Date().toISOString().slice(11, 19) + " UTC";
  }

  const events = new EventSource("/events");
  events.addEventListener("change", (event) => {
    if (seen !== null && seen !== event.data) soon();
    seen = event.data;
  });
})();
