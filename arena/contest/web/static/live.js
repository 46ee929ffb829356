// Live pages: the server says that something has changed, and the main part of this page is fetched anew.
// Nothing is replaced while a form field is being filled in; without JavaScript a reload does the same.
"use strict";
(() => {
  if (!window.EventSource) return;
  const said = document.getElementById("live");
  let seen = null, busy = false, again = false;

  async function refresh() {
    if (busy) { again = true; return; }
    const active = document.activeElement;
    if (active && active.matches("input, textarea, select")) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        const open = [...document.querySelectorAll("main details")].map((one) => one.open);
        document.getElementById("main").replaceChildren(...fresh.getElementById("main").childNodes);
        document.querySelectorAll("main details").forEach((one, i) => { if (i < open.length) one.open = open[i]; });
        document.querySelector(".intro").replaceWith(fresh.querySelector(".intro"));
        said.hidden = false;
        said.textContent = "Live, last change " + new Date().toISOString().slice(11, 19) + " UTC";
      }
    } finally {
      busy = false;
      if (again) { again = false; setTimeout(refresh, 500); }
    }
  }

  const events = new EventSource("/events");
  // A page that is kept for the way back would keep its connection, and a browser has six of them for one host.
  addEventListener("pagehide", () => events.close());
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  events.addEventListener("change", (event) => {
    if (seen !== null && seen !== event.data) refresh();
    seen = event.data;
  });
})();
