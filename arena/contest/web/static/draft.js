// Keeps the typed text of a program in the browser until it is submitted, and restores it; nothing is sent.
// The listeners are the document's: live.js may replace the form.
"use strict";
(() => {
  const box = () => document.querySelector("textarea[data-draft]");
  const key = (one) => "metaloop draft " + one.dataset.draft;
  const kept = (act) => { try { return act(localStorage); } catch { return null; } }; // the browser may refuse it
  const keep = (one) => kept((all) => all.setItem(key(one), one.value));
  const typed = () => document.getElementById("example")?.remove(); // its note is about the text as it was

  const first = box();
  const draft = first ? kept((all) => all.getItem(key(first))) : null;
  if (first && first.hasAttribute("data-keep")) keep(first); // what was sent and not stored
  else if (draft !== null && draft !== first.value) {
    if (first.hasAttribute("data-restore")) {
      first.value = draft;
      document.getElementById("draft").hidden = false;
      typed();
      first.dispatchEvent(new Event("input", { bubbles: true })); // it is checked like a typed text
    } else document.getElementById("other").hidden = false;
  }

  document.addEventListener("input", (event) => {
    if (event.target !== box()) return;
    keep(event.target);
    typed();
  }, true);
  document.addEventListener("submit", (event) => {
    const action = event.submitter?.getAttribute("formaction") ?? event.target.getAttribute("action");
    if (box() && action === "/enter") kept((all) => all.removeItem(key(box())));
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("#draft a")) kept((all) => all.removeItem(key(box())));
  });
})();
