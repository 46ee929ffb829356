// The box that checks a program while its author types; without JavaScript there is a button.
"use strict";
(() => {
  const PAUSE = 700; // ms without a key before the text is sent
  const box = document.querySelector("textarea[data-lint]");
  const found = box && document.getElementById(box.dataset.lint);
  if (!found) return;
  let timer = 0, asked = 0;

  function line(name, text, kind) {
    const element = document.createElement(name);
    element.textContent = text;
    if (kind) element.className = kind;
    return element;
  }

  async function check() {
    const number = ++asked;
    const answer = await fetch("/api/v1/lint", { method: "POST", body: box.value, headers: { "content-type": "text/markdown" } });
    if (number !== asked) return; // a newer text was sent meanwhile
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) {
      found.replaceChildren(line("p", said.error ? said.error.message : "the host did not answer", "problem"));
      return;
    }
    const list = document.createElement("ul");
    list.append(...said.lint.map((m) => line("li", `line ${m.line}: ${m.level}: ${m.message}`)));
    found.replaceChildren(line("p", said.message, said.taken ? "" : "problem"), list);
  }

  box.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => check().catch(() => found.replaceChildren(line("p", "the host did not answer", "problem"))), PAUSE);
  });
})();
