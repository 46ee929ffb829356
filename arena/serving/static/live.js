// Live pages: every few seconds, a page that is seen asks for its header and main part, and gets 304 while they are the same.
// A section in which something was typed or a field has the focus is not replaced. A page that answers a form does not load
// this script: its address gives another page. Without JavaScript, reload the page.
"use strict";
(() => {
  const EVERY = 3000; // ms between two requests
  let last = Date.now() - EVERY * Math.random(), apart = 0; // ms: the host's clock minus the browser's
  let shown = document.getElementById("main").innerHTML; // before other scripts change it
  const utc = () => new Date(Date.now() + apart).toISOString();

  async function poll() {
    if (document.hidden) return;
    last = Date.now();
    const answer = await fetch(location.href, { headers: { accept: "text/html; part=live" } }); // the browser keeps the ETag
    if (!answer.ok) return;
    apart = (Date.parse(answer.headers.get("date")) || Date.now()) - Date.now();
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of [".kicker", ".intro", "header nav"]) {
      const [old, made] = [document, fresh].map((page) => page.querySelector(part));
      if (!old.isEqualNode(made)) old.replaceWith(made); // the focus on an unchanged link stays
    }
    replaceMain(document.getElementById("main"), fresh.getElementById("main"));
    tick();
    document.getElementById("live").textContent = "Live: checked " + utc().slice(11, 19);
  }

  function isHeld(part) {
    return [...part.querySelectorAll("textarea, input")].some((field) =>
      field === document.activeElement || field.value !== field.defaultValue || field.checked !== field.defaultChecked);
  }

  function replaceMain(old, made) {
    if (made.innerHTML === shown) return;
    if (isHeld(old)) {
      for (const part of old.querySelectorAll(":scope > section[aria-labelledby]")) {
        const news = made.querySelector(`:scope > section[aria-labelledby="${part.getAttribute("aria-labelledby")}"]`);
        if (news && !isHeld(part) && !part.isEqualNode(news)) part.replaceWith(news);
      }
      return;
    }
    shown = made.innerHTML;
    const open = [...old.querySelectorAll("details")].map((part) => part.open), active = document.activeElement;
    const alike = () => [...old.querySelectorAll(active.localName)].filter((part) => part.textContent === active.textContent);
    const which = old.contains(active) && active !== old ? alike().indexOf(active) : -1;
    old.replaceChildren(...made.childNodes);
    old.querySelectorAll("details").forEach((part, i) => { if (i < open.length) part.open = open[i]; });
    if (which >= 0) (alike()[which] ?? old).focus({ preventScroll: true });
  }

  function duration(seconds) { // as the server writes it
    const two = (value) => String(value).padStart(2, "0"), whole = Math.round(seconds);
    if (whole < 60) return whole + " s";
    if (whole < 3600) return Math.floor(whole / 60) + " min " + two(whole % 60) + " s";
    if (whole < 172800) return Math.floor(whole / 3600) + " h " + two(Math.floor(whole % 3600 / 60)) + " min";
    return Math.floor(whole / 86400) + " d " + Math.floor(whole % 86400 / 3600) + " h";
  }

  function tick() { // the clock and the time that is left go on between two requests
    const clock = document.querySelector(".intro time"), left = document.querySelector("[data-until]");
    if (clock) clock.textContent = utc().slice(0, 19).replace("T", " ") + " UTC";
    if (left) left.textContent = duration(Math.max(0, (Date.parse(left.dataset.until) - Date.parse(utc())) / 1000));
  }

  setInterval(() => {
    tick();
    if (Date.now() - last >= EVERY) poll().catch(() => {}); // a host that does not answer is asked again
  }, 1000);
  document.addEventListener("visibilitychange", () => { last = 0; });
  addEventListener("pageshow", () => { last = 0; }); // it may be an old copy
  const clock = document.querySelector(".intro time");
  if (clock) apart = Date.parse(clock.dateTime) - Date.now();
})();
