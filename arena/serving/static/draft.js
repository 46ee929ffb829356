// Keeps the typed text of a program in the browser until the contest has stored it, and restores it; nothing is sent.
// The listeners are the document's: live.js may replace the form. Each account has a draft of its own; a text that was
// typed before logging in becomes that of the account that logs in.
"use strict";
(() => {
  const contest = "metaloop draft " + document.body.dataset.contest;
  const own = contest + (document.body.dataset.person ? " " + document.body.dataset.person : "");
  const box = () => document.querySelector("textarea[data-draft]");
  const kept = (act) => { try { return act(localStorage); } catch { return null; } }; // the browser may refuse it
  const keep = (one) => kept((all) => all.setItem(own, one.value));
  const drop = (key) => kept((all) => all.removeItem(key));
  const typed = () => document.getElementById("example")?.remove(); // its note is about the text as it was

  const account = "account=" + encodeURIComponent(own); // whose pages these are, for a page that is shown once more
  const cookies = () => document.cookie.split("; ");
  document.cookie = account + "; path=/; samesite=strict";

  if (cookies().includes("stored=yes")) { // set where the text has just become an entry
    document.cookie = "stored=; path=/entry; max-age=0";
    drop(own);
  }
  const first = box();
  if (own !== contest && kept((all) => all.getItem(contest)) !== null) {
    kept((all) => all.setItem(own, all.getItem(contest)));
    drop(contest);
  }
  const again = performance.getEntriesByType("navigation")[0]?.type; // a page that was left and is shown once more is old
  const draft = () => kept((all) => all.getItem(own));

  function restore(one) {
    one.value = draft();
    document.getElementById("draft").hidden = false;
    typed();
    one.dispatchEvent(new Event("input", { bubbles: true })); // it is checked like a typed text
  }

  function settle(one) {
    if (draft() === null || (draft() === one.value && one.value === one.defaultValue)) return; // the browser may have restored it
    if (one.hasAttribute("data-restore") || one.hasAttribute("data-keep")) restore(one);
    else document.getElementById("other").hidden = false;
  }

  const sent = first?.hasAttribute("data-keep") && again !== "back_forward"; // and not stored
  if (sent && (again === "navigate" || draft() === null)) keep(first);
  else if (first) settle(first);
  // A page from the back/forward cache has the text as it was left, and another page may have changed the draft since.
  // One of another account is fetched again, without the text: it is not for who has logged in since.
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    if (cookies().includes(account)) {
      if (box()) settle(box());
      return;
    }
    document.body.hidden = true;
    if (box()) box().value = ""; // the browser may fill it in again
    location.reload();
  });

  document.addEventListener("input", (event) => {
    if (event.target !== box()) return;
    keep(event.target);
    typed();
  }, true);
  document.addEventListener("submit", (event) => {
    if (event.target.getAttribute("action") !== "/logout") return;
    drop(own);
    document.cookie = "account=; path=/; max-age=0";
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("#draft a")) drop(own);
  });
})();
