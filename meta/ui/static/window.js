// Live pages and keys. When the server reports a change, the main part of the page is fetched again, at most once a
// second, and not while a field has the focus. Without JavaScript everything works; reload the page.
"use strict";
(() => {
  const at = document.currentScript.dataset.events, said = document.getElementById("live");
  const LEAST = 1000; // ms between two fetches
  let seen = null, waiting = false, last = 0;
  let shown = document.getElementById("main").innerHTML; // as the server sent it

  async function refresh() {
    last = Date.now();
    waiting = false;
    const active = document.activeElement;
    if (active && active.matches("input[type=search]")) return;
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const made = fresh.getElementById("main").innerHTML;
    if (made === shown) return;
    shown = made;
    const words = document.getElementById("find")?.value;
    const open = [...document.querySelectorAll("main details")].map((one) => one.open);
    document.getElementById("main").replaceChildren(...fresh.getElementById("main").childNodes);
    document.querySelectorAll("main details").forEach((one, i) => { if (i < open.length) one.open = open[i]; });
    if (words && document.getElementById("find")) document.getElementById("find").value = words;
    sieve();
    said.hidden = false;
    said.textContent = "Live, last change " + new Date().toISOString().slice(11, 19) + " UTC";
  }

  if (at && window.EventSource) {
    // A browser has only six connections per host, so a page that is not seen holds none: another tab, the back/forward cache.
    let events = null;
    const leave = () => { if (events) events.close(); events = null; };
    const soon = () => {
      if (!waiting) setTimeout(refresh, Math.max(0, last + LEAST - Date.now()));
      waiting = true;
    };
    const listen = () => {
      if (events || document.hidden) return;
      events = new EventSource(at);
      events.addEventListener("change", (event) => {
        if (seen !== null && seen !== event.data) soon();
        seen = event.data;
      });
    };
    listen();
    addEventListener("pagehide", leave);
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return leave();
      listen();
      soon();
    });
  }

  function sieve() {
    const find = document.getElementById("find");
    const words = find ? find.value.toLowerCase().split(/\s+/) : [];
    for (const row of document.querySelectorAll("[data-text]"))
      row.hidden = !words.every((word) => row.dataset.text.toLowerCase().includes(word));
  }
  document.addEventListener("input", (event) => { if (event.target.id === "find") sieve(); });

  document.addEventListener("keydown", (event) => {
    const field = event.target.matches("input[type=search]");
    if (event.key === "Escape" && field) event.target.blur();
    if (field || event.ctrlKey || event.metaKey || event.altKey) return;
    const find = document.getElementById("find");
    if (event.key === "/" && find) { event.preventDefault(); find.focus(); }
    if (event.key === "g") location.href = "/";
    if (event.key !== "j" && event.key !== "k") return;
    const links = [...document.querySelectorAll(".row:not([hidden]) .open")];
    const now = links.indexOf(document.activeElement);
    const next = links[event.key === "j" ? Math.min(now + 1, links.length - 1) : Math.max(now - 1, 0)];
    if (next) next.focus();
  });
})();
