"use strict";
// Draws every figure from the JSON next to it, and again when the width changes. Handles the run selector and the theme.

document.documentElement.classList.add("js");

const dataOf = new Map();

function figureData(figure) {
  if (!dataOf.has(figure.id)) dataOf.set(figure.id, JSON.parse(figure.querySelector('script[type="application/json"]').textContent));
  return dataOf.get(figure.id);
}

function drawFigure(figure, width) {
  const chart = CHARTS[figure.dataset.kind];
  const plot = figure.querySelector(".plot");
  if (!chart || !plot) return;
  plot.replaceChildren(chart(figureData(figure), width || Math.max(280, Math.floor(plot.clientWidth))));
  // The library names groups that have no role, which no reader may name; the figure's table says what they hold.
  plot.querySelectorAll("g[aria-label]:not([role])").forEach((group) => group.removeAttribute("aria-label"));
}

function drawAll(width) {
  for (const figure of document.querySelectorAll("figure[data-kind]")) drawFigure(figure, width);
}

// The selector of the run in the close-up, and its table.
function offerRuns(figure) {
  const data = figureData(figure);
  if (!data || data.rows.length < 2) return;
  const select = make("select", { "aria-label": "Run" }, ...data.rows.map((run, i) => make("option", { value: i }, `${run.program}, run ${run.run}${run.role && run.role !== "program" ? `, ${run.role}` : ""}, gain ${digits(run.verified_gain ?? run.claimed_gain)}`)));
  select.value = shownRun(data);
  select.addEventListener("input", () => {
    data.shown = Number(select.value);
    drawFigure(figure);
  });
  figure.querySelector(".plot").before(make("p", {}, make("label", {}, "Run ", select)));
}

// A dot of the first picture opens its run in the close-up.
function openRun() {
  const figure = document.getElementById("runs-0"), id = location.hash.slice("#run-".length);
  const place = figure && location.hash.startsWith("#run-") ? figureData(figure).rows.findIndex((run) => run.id === id) : -1;
  if (place < 0) return;
  const select = figure.querySelector("select");
  if (select) select.value = place;
  select?.dispatchEvent(new Event("input"));
  figure.scrollIntoView();
}

function offerColours() {
  const select = document.getElementById("theme");
  select.addEventListener("input", () => {
    if (select.value) document.documentElement.dataset.theme = select.value;
    else delete document.documentElement.dataset.theme;
  });
  select.closest(".theme").hidden = false;
}

for (const figure of document.querySelectorAll("figure[data-kind]")) {
  if (figure.dataset.kind === "run") offerRuns(figure);
  if (figure.dataset.kind === "experiments") exploreExperiments(figure, figureData(figure));
}
offerColours();
drawAll();
openRun();
addEventListener("hashchange", openRun);

let width = window.innerWidth;
let waiting = 0;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return; // a phone's bars come and go: only the height changes
  width = window.innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(() => drawAll(), 120);
});
window.addEventListener("beforeprint", () => drawAll(680));
window.addEventListener("afterprint", () => drawAll());
