// Live pages: when the server reports a change, the main part of this page is fetched again.
// A page is fetched at most every few seconds, and not by all readers at the same moment. One whose content changes with
// each experiment or second (data-changing: the queue; the entry of the reader, while it runs) is fetched every few seconds
// without a report.
// Nothing is replaced while a form field has the focus. One that holds what was typed stays, with all around it. A page that
// answers a form does not load this script: its address gives another page. Without JavaScript, reload the page.
// What is the same is not replaced, and what has the focus keeps it.
"use strict";
(() => {
  if (!window.EventSource) return;
  const said = document.getElementById("live");
  const LEAST = 5000, APART = 1000; // ms: minimum time between two fetches, random delay between readers
  let seen = null, waiting = false, last = Date.now(), changed = "";
  let fetched = document.getElementById("main").innerHTML; // before other scripts change it

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

  const time = () => new Date(Date.now() + apart).toISOString().slice(11, 19);
  const lasting = (part) => part.textContent.replace(/[\d.]+ (s|min|h|d)\b/g, ""); // without how long ago things were
  const texts = (page) => JSON.stringify([...page.querySelectorAll("main textarea[data-lint]")].map((one) => one.value));

  async function refresh() {
    const active = document.activeElement;
    if (active && active.matches("input, textarea, select")) return;
    const filled = (part) => [...part.querySelectorAll("textarea, input")].some((one) => one.value !== one.defaultValue);
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (filled(document.getElementById("main")) || texts(fresh) !== texts(document)) { // the lists beside the form alone
      for (const part of document.querySelectorAll("main > section[aria-labelledby]")) {
        const made = fresh.querySelector(`main > section[aria-labelledby="${part.getAttribute("aria-labelledby")}"]`);
        if (made && !part.querySelector("textarea, input") && part.innerHTML !== made.innerHTML) part.replaceWith(made);
      }
      return;
    }
    const open = [...document.querySelectorAll("main details")].map((one) => one.open);
    const [old, made] = [document, fresh].map((page) => page.getElementById("main"));
    if (lasting(old) !== lasting(made)) changed = ", last change " + time();
    if (made.innerHTML !== fetched) {
      const alike = () => [...old.querySelectorAll(active.localName)].filter((one) => one.textContent === active.textContent);
      const which = old.contains(active) && active !== old ? alike().indexOf(active) : -1;
      fetched = made.innerHTML;
      old.replaceChildren(...made.childNodes);
      document.querySelectorAll("main details").forEach((one, i) => { if (i < open.length) one.open = open[i]; });
      if (which >= 0) (alike()[which] ?? old).focus({ preventScroll: true });
    }
    for (const part of [".kicker", ".intro", "header nav"]) {
      const [old, made] = [document, fresh].map((page) => page.querySelector(part));
      if (old.outerHTML !== made.outerHTML) old.replaceWith(made); // the focus on an unchanged link stays
    }
    setClock();
    said.textContent = "Live: checked " + time() + (changed || ", no change yet");
  }

  // The clock and the time that is left go on between two fetches.
  const clock = () => document.querySelector(".intro time");
  let apart = 0, over = false; // ms: the host's clock minus the browser's

  function setClock() {
    if (clock()) apart = Date.parse(clock().dateTime) - Date.now();
  }

  function duration(seconds) { // as the server writes it
    const two = (value) => String(value).padStart(2, "0"), whole = Math.round(seconds);
    if (whole < 60) return whole + " s";
    if (whole < 3600) return Math.floor(whole / 60) + " min " + two(whole % 60) + " s";
    if (whole < 172800) return Math.floor(whole / 3600) + " h " + two(Math.floor(whole % 3600 / 60)) + " min";
    return Math.floor(whole / 86400) + " d " + Math.floor(whole % 86400 / 3600) + " h";
  }

  function tick() {
    const now = Date.now() + apart, left = document.querySelector("[data-until]");
    if (clock()) clock().textContent = new Date(now).toISOString().slice(0, 19).replace("T", " ") + " UTC";
    const seconds = left ? (Date.parse(left.dataset.until) - now) / 1000 : 0;
    if (seconds > 0) { over = false; left.textContent = duration(seconds); }
    else if (left && !over) { over = true; soon(); }
    if (!document.hidden && document.querySelector("[data-changing]") && Date.now() - last > LEAST) soon();
  }

  // A browser has only six connections per host, so a page that is not seen holds none: another tab, the back/forward cache.
  let events = null;
  function listen() {
    if (events || document.hidden) return;
    events = new EventSource("/events");
    events.addEventListener("now", (event) => { apart = Date.parse(event.data) - Date.now(); }); // a page may be an old copy
    events.addEventListener("change", (event) => {
      if (seen !== null && seen !== event.data) soon();
      seen = event.data;
    });
  }

  function leave() {
    if (events) events.close();
    events = null;
  }

  function back() {
    listen();
    soon();
  }

  setClock();
  setInterval(tick, 1000);
  listen();
  if (performance.getEntriesByType("navigation")[0]?.type === "back_forward") { last = 0; soon(); } // it may be an old copy
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => { if (event.persisted) back(); });
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : back()));
})();
