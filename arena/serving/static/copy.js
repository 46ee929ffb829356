// Buttons that copy a text of the page; without JavaScript they stay hidden.
"use strict";
(() => {
  for (const button of document.querySelectorAll("button[data-copy]")) {
    const text = document.getElementById(button.dataset.copy);
    button.hidden = false;
    button.addEventListener("click", async () => {
      getSelection().selectAllChildren(text); // what is copied stays visible, and can be copied by hand
      let done = false;
      try {
        if (navigator.clipboard) { await navigator.clipboard.writeText(text.textContent); done = true; } // https or localhost
        else done = document.execCommand("copy");
      } catch { /* the browser refuses */ }
      button.textContent = done ? "Copied" : "Not copied: copy the selected text yourself";
    });
  }
})();
