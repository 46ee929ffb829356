"use strict";
// The table of experiments: sort, filter, page, and the diff of a row on click. Everything is set as text.

const SHOWN = [
  ["line", "line", true], ["number", "no.", true], ["id", "id"], ["program", "program"], ["what", "what was tried"], ["decision", "decision"],
  ["status", "status"], ["metric", "metric", true], ["gain", "gain", true], ["seconds", "seconds", true],
];
const PAGE = 25;

// Columns that are not empty. Decimals: three digits of a typical gain.
function columnsOf(rows) {
  const held = (key) => new Set(rows.map((r) => r[key] ?? ""));
  return SHOWN.filter(([key]) => (key === "program" ? held(key).size > 1 : rows.some((r) => r[key] != null && r[key] !== "")));
}

function decimalsOf(rows) {
  const scale = d3.median(rows.filter((r) => r.gain), (r) => Math.abs(r.gain)) || 0.01;
  return Math.min(Math.max(2 - Math.floor(Math.log10(scale)), 0), 7);
}

function figureOf(value, places) {
  if (value == null) return "–";
  return (Math.abs(value) < 1e6 ? value.toFixed(places) : value.toExponential(2)).replace("-", "−");
}
const WORDS = ["run", "program", "decision", "status", "what", "why"];

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) if (value != null && value !== false) node.setAttribute(key, value);
  node.append(...children.filter((child) => child != null));
  return node;
}

function unpack(data) {
  return data.rows.map((row) => {
    const item = Object.fromEntries(data.columns.map((name, i) => [name, row[i]]));
    for (const key of WORDS) item[key] = item[key] < 0 ? "" : data.words[item[key]];
    item.cites = item.cites.map((i) => data.cites[i]);
    item.diff = item.diff < 0 ? "" : data.diffs[item.diff];
    item.said = item.what; // the row shows the change alone; the details below it show the whole description
    if (item.cites.length && item.what.includes(": ")) item.what = item.what.slice(0, item.what.indexOf(": "));
    item.text = [item.id, item.run, item.program, item.decision, item.status, item.said, item.why, ...item.cites].join(" ").toLowerCase();
    return item;
  });
}

function exploreExperiments(figure, data) {
  const rows = unpack(data);
  const box = figure.querySelector(".explore");
  const state = { key: "", down: false, page: 0, open: new Set(), columns: columnsOf(rows), places: decimalsOf(rows) };
  const form = box.querySelector("form");
  for (const key of ["program", "decision", "status"]) {
    const counts = d3.rollups(rows, (v) => v.length, (r) => r[key]).sort((a, b) => b[1] - a[1]);
    for (const [value, n] of counts) form.elements[key].append(make("option", { value }, `${value || "none"} (${n})`));
  }
  const draw = () => drawExperiments(box, rows, state, form, data);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { state.page = 0; draw(); });
  for (const button of box.querySelectorAll(".pages button")) button.addEventListener("click", () => { state.page += Number(button.dataset.step); draw(); });
  box.querySelector("table").addEventListener("click", (event) => pressed(event, state, draw));
  box.hidden = false;
  draw();
}

function pressed(event, state, draw) {
  const sort = event.target.closest("[data-sort]");
  const row = event.target.closest("[data-row]");
  if (sort) {
    state.down = state.key === sort.dataset.sort ? !state.down : ["gain", "seconds"].includes(sort.dataset.sort);
    Object.assign(state, { key: sort.dataset.sort, page: 0 });
  } else if (row) {
    const key = row.dataset.row;
    if (!state.open.delete(key)) state.open.add(key);
  } else return;
  const name = sort ? `[data-sort="${CSS.escape(state.key)}"]` : `[data-row="${CSS.escape(row.dataset.row)}"] button`;
  draw();
  document.querySelector(`.rows ${name}`)?.focus({ preventScroll: true });
}

function chosen(rows, state, form) {
  const { text, program, decision, status } = form.elements;
  const terms = text.value.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = rows.filter((r) => (!program.value || r.program === program.value) && (!decision.value || r.decision === decision.value)
    && (!status.value || r.status === status.value) && terms.every((word) => r.text.includes(word)));
  if (!state.key) return matches;
  const order = state.down ? d3.descending : d3.ascending;
  const missing = (r) => r[state.key] == null;
  return matches.sort((a, b) => missing(a) - missing(b) || order(a[state.key], b[state.key]));
}

function drawExperiments(box, rows, state, form, data) {
  const matches = chosen(rows, state, form);
  const pages = Math.max(1, Math.ceil(matches.length / PAGE));
  state.page = Math.min(Math.max(state.page, 0), pages - 1);
  const head = make("tr", {}, ...state.columns.map(([key, title, right]) => make("th", { scope: "col", class: right ? `right of-${key}` : `of-${key}`, "aria-sort": state.key === key ? (state.down ? "descending" : "ascending") : null },
    make("button", { type: "button", "data-sort": key }, title + (state.key === key ? (state.down ? " ↓" : " ↑") : "")))));
  const body = matches.slice(state.page * PAGE, (state.page + 1) * PAGE).flatMap((r) => experimentRow(r, state, data));
  box.querySelector("table").replaceChildren(make("thead", {}, head), make("tbody", {}, ...body));
  box.querySelector(".found").textContent = `${matches.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
  const [back, next] = box.querySelectorAll(".pages button");
  back.disabled = state.page === 0;
  next.disabled = state.page >= pages - 1;
  box.querySelector(".pages span").textContent = `page ${state.page + 1} of ${pages}`;
}

function experimentRow(r, state, data) {
  const key = `${r.run}/${r.id}`;
  const open = state.open.has(key);
  const kind = r.decision === "keep" ? " keep" : r.status !== "ok" ? " bad" : "";
  const cells = state.columns.map(([name, , right]) => {
    const figure = () => (name === "number" || name === "line" ? String(r[name]) : figureOf(r[name], name === "seconds" ? (r.seconds < 10 ? 2 : 0) : state.places));
    const value = name === "id" ? make("button", { type: "button", "aria-expanded": String(open), title: "show diff" }, r.id.slice(0, 7)) : right ? figure() : r[name];
    return make("td", { class: right ? `right of-${name}` : `of-${name}` }, value);
  });
  const line = make("tr", { class: `row${kind}`, "data-row": key }, ...cells);
  return open ? [line, make("tr", { class: "more" }, make("td", { colspan: state.columns.length }, ...experimentDetail(r, data)))] : [line];
}

function experimentDetail(r, data) {
  const facts = [["experiment", `${r.id}, number ${r.number} of run ${r.run}`], ["program", r.program], ["status", r.status], ["why", r.why], ["what was tried", r.said === r.what ? "" : r.said], ["cites", r.cites.join("\n")]];
  const list = make("dl", {}, ...facts.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  if (!r.diff) return [list, make("p", { class: "note" }, `No diff on this page: metaloop show ${r.id}`)];
  const lines = r.diff.split("\n").map((line) => make("span", { class: { "+": "add", "-": "del", "@": "hunk" }[line[0]] || null }, `${line}\n`));
  return [list, make("pre", { class: "diff" }, make("code", {}, ...lines))];
}
