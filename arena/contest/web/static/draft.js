// Keeps the typed text of a program in the browser until it is submitted, and restores it; nothing is sent.
// The listeners are the document's: live.js may replace the form.
"use strict";
(() => {
  const box = () => document.querySelector("textarea[data-draft]");
  const key = (one) => "metaloop draft " + one.dataset.draft;
  const kept = (act) => { try { return act(localStorage); } catch { return null; } }; // the browser may refuse it

  const first = box(), note = document.getElementById("draft");
  const draft = first && first.hasAttribute("data-restore") ? kept((all) => all.getItem(key(first))) : null;
  if (draft !== null && draft !== first.value) {
    first.value = draft;
    note.hidden = false;
    document.getElementById("example")?.remove();
    first.dispatchEvent(new Event("input", { bubbles: true })); // it is checked like a typed text
  }

  document.addEventListener("input", (event) => {
    if (event.target === box()) kept((all) => all.setItem(key(event.target), event.target.value));
  }, true);
  document.addEventListener("submit", (event) => {
    if (box() && event.submitter?.formAction.endsWith("/enter")) kept((all) => all.removeItem(key(box())));
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("#draft a")) kept((all) => all.removeItem(key(box())));
  });
})();
