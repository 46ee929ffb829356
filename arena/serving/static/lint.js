// Checks a program while its author types, or when a file is chosen; without JavaScript there is a button.
// The listeners are the document's: live.js may replace the form.
"use strict";
(() => {
  const PAUSE = 700; // ms without a key before the text is sent
  let timer = 0, requests = 0;

  function line(name, text, kind) {
    const element = document.createElement(name);
    element.textContent = text;
    if (kind) element.className = kind;
    return element;
  }

  // A message names a line of the text, which has no numbers: its button selects that line.
  function located(item) {
    const button = line("button", "Show line " + item.dataset.line);
    button.type = "button";
    item.append(" ", button);
    return item;
  }

  document.addEventListener("click", (event) => {
    const item = event.target.closest("li[data-line] button")?.parentElement, box = document.querySelector("textarea[data-lint]");
    if (!item || !box) return;
    const before = box.value.split("\n").slice(0, item.dataset.line - 1), start = before.join("\n").length + (before.length > 0);
    const end = box.value.indexOf("\n", start);
    box.focus();
    box.setSelectionRange(start, end < 0 ? box.value.length : end);
    box.scrollTop = (before.length - 2) * parseFloat(getComputedStyle(box).lineHeight); // where lines wrap, only about
    box.scrollIntoView({ block: "center" });
  });
  document.querySelectorAll("li[data-line]").forEach(located);

  function messageItem(m) {
    const item = line("li", `${m.file ? m.file + ", " : ""}line ${m.line}: ${m.level}: ${m.message}`, m.level);
    if (m.file) return item;
    item.dataset.line = m.line;
    return located(item);
  }

  async function check(box) {
    const number = ++requests;
    const file = box.form.querySelector("input[type=file]")?.files[0]; // it is sent instead of the text
    const output = document.getElementById(box.dataset.lint);
    const answer = await fetch("/api/v1/lint", { method: "POST", body: file || box.value, headers: { "content-type": "text/markdown" } });
    if (number !== requests) return; // a newer text was sent meanwhile
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) {
      output.replaceChildren(line("p", said.error ? said.error.message : `The check failed (status ${answer.status}).`, "problem"));
      return;
    }
    const list = document.createElement("ul");
    list.append(...said.lint.map(messageItem));
    output.replaceChildren(line("p", (file ? `${file.name}: ` : "") + said.message, said.taken ? "" : "problem"), list);
  }

  function soon(event) {
    const box = event.target.form && event.target.form.querySelector("textarea[data-lint]");
    if (!box || (event.target !== box && event.target.type !== "file")) return;
    clearTimeout(timer);
    const failed = () => document.getElementById(box.dataset.lint).replaceChildren(line("p", "the host did not answer", "problem"));
    timer = setTimeout(() => check(box).catch(failed), PAUSE);
  }

  for (const kind of ["input", "change"]) document.addEventListener(kind, soon, true);
})();
