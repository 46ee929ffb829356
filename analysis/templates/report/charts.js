"use strict";
// One drawing per kind of figure: (data, width) → an element. Colours are the page's own variables, so that dark, light
// and print need no second drawing. Text reaches the page as text nodes only.

const colour = (name) => `var(--${name})`;
const ROLE = {
  champion: { symbol: "star", colour: colour("accent") },
  program: { symbol: "circle", colour: colour("accent") },
  control: { symbol: "square", colour: colour("soft") },
  without: { symbol: "triangle", colour: colour("soft") },
};
const MARKS = { "a/a": "control", "one-line": "control", "without-ideas": "without" };
const role = (name) => ROLE[MARKS[name] || name] || ROLE.program;
const armName = (r) => (r.role === "a/a" ? `${r.program} (A/A)` : r.program);
const narrow = (width) => width < 560;
const style = { fontSize: "12px", background: "none", color: colour("ink"), fontFamily: "inherit" };
const better = (direction) => (direction === "higher" ? d3.max : d3.min);
const integers = (low, high, width) => d3.ticks(low, high, narrow(width) ? 5 : 10).filter(Number.isInteger);
const digits = (value, n = 4) => (value == null ? "–" : Math.abs(value) < 1e-4 && value ? value.toExponential(2) : String(+value.toPrecision(n))).replace("-", "−");

// The axis of intervals. Intervals over five times as wide as the median do not stretch it; they are cut at its ends.
function intervalDomain(rows, more = []) {
  const wide = rows.filter((r) => r.low != null).map((r) => r.high - r.low);
  const most = 5 * (d3.median(wide) || Infinity);
  const narrowRows = rows.filter((r) => r.low == null || r.high - r.low <= most);
  const values = [0, ...more, ...narrowRows.flatMap((r) => [r.low, r.value, r.high])].filter((v) => v != null);
  const [low, high] = d3.extent(values);
  const room = (high - low || 1) * 0.04;
  return [low < 0 ? low - room : low, high + room];
}

// Rows of dot and interval: {id, name, value, low, high, claimed, tie, right, symbol, colour, hollow}.
function intervals(rows, width, { label, right = "", links = [], narrowRight = 52, tree = false }) {
  const small = narrow(width);
  const left = small ? 16 : Math.min(280, 24 + 7.2 * d3.max(rows, (r) => r.name.length));
  const domain = intervalDomain(rows, rows.map((r) => r.claimed));
  const rowHeight = small ? 46 : 30;
  const dot = { y: "id", r: 5, strokeWidth: 1.8 };
  const cut = (v) => (v == null ? v : Math.min(Math.max(v, domain[0]), domain[1]));
  const known = rows.filter((r) => r.value != null).map((r) => ({ ...r, low: cut(r.low), high: cut(r.high), value: cut(r.value), claimed: cut(r.claimed) }));
  const dy = small ? 8 : 0;
  const halo = (r) => colour(r.tie && small ? "band" : "bg"); // lines that cross a label do not cross out its letters
  const name = { y: "id", text: "name", textOverflow: "ellipsis", fill: colour("ink"), stroke: halo, strokeWidth: 4 };
  return Plot.plot({
    width, height: rows.length * rowHeight + 62, marginLeft: left, marginRight: small ? narrowRight : Math.max(narrowRight, 64), marginTop: 22, marginBottom: 40, style,
    x: { label, labelAnchor: "right", labelArrow: "right", domain, ticks: small ? 4 : 8 },
    y: { axis: null, domain: rows.map((r) => r.id), padding: 0.12 },
    marks: [
      Plot.barX(rows.filter((r) => r.tie), { y: "id", x1: domain[0], x2: domain[1], fill: colour("band") }),
      Plot.gridX({ stroke: colour("line"), strokeOpacity: 1, ticks: small ? 4 : 8 }),
      Plot.ruleX([0], { stroke: colour("soft"), strokeWidth: 1.2 }),
      Plot.link(links, { x1: "x1", x2: "x2", y1: "y1", y2: "y2", stroke: colour("other"), strokeWidth: 1.4, dy, markerEnd: null }),
      Plot.ruleY(known.filter((r) => r.low != null), { y: "id", x1: "low", x2: "high", stroke: "colour", strokeWidth: 2, dy }),
      Plot.dot(known.filter((r) => r.claimed != null), { ...dot, dy, x: "claimed", r: 6, stroke: colour("bg"), strokeWidth: 4 }),
      Plot.dot(known, { ...dot, dy, x: "value", symbol: "symbol", fill: (r) => (r.hollow ? colour("bg") : r.colour), stroke: "colour", title: "tip" }),
      Plot.dot(known.filter((r) => r.claimed != null), { ...dot, dy, x: "claimed", r: 6, stroke: colour("warm") }),
      Plot.text(rows, small ? { ...name, frameAnchor: "left", dx: 4, dy: -11, lineWidth: (width - 80) / 12 } : { ...name, frameAnchor: "left", textAnchor: tree ? "start" : "end", dx: tree ? 8 - left : -10, lineWidth: (left - 14) / 13.6 }),
      Plot.text(rows, { y: "id", text: "right", frameAnchor: "right", textAnchor: "start", dx: 8, dy, fill: colour("ink") }),
      Plot.text([right], { frameAnchor: "top-right", textAnchor: "start", dx: 8, dy: -16, fill: colour("soft") }),
    ],
  });
}

function standings(data, width) {
  const rows = data.rows.map((r) => ({
    ...r, name: armName(r), value: r.gain, claimed: r.claimed_gain, right: r.ranks, tie: /^1(–|$)/.test(r.ranks), symbol: role(r.role).symbol, colour: role(r.role).colour,
    tip: `${r.program}\ngain ${digits(r.gain)}${r.low == null ? "" : ` [${digits(r.low)}, ${digits(r.high)}]`}, ${r.runs} run${r.runs === 1 ? "" : "s"}\nclaimed ${digits(r.claimed_gain)}`,
  }));
  return intervals(rows, width, { label: `gain, ${data.unit}`, right: rows.some((r) => r.ranks) ? "rank" : "" });
}

function effects(data, width) {
  const rows = data.rows.map((r, i) => ({
    ...r, id: String(i), name: r.change ?? armName(r), value: r.estimate ?? r.gain, right: `n=${r.n ?? r.runs}`, symbol: "circle", hollow: r.significant === false, colour: colour(r.significant === false ? "soft" : "accent"), tip: r.change ?? r.program,
  }));
  return intervals(rows, width, { label: `${rows[0].change == null ? "gain" : "effect"}, ${data.unit}` });
}

function lineage(data, width) {
  const at = new Map(data.rows.map((r) => [r.id, r]));
  const rows = data.rows.map((r) => ({
    ...r, name: r.depth ? `└${"─".repeat(r.depth - 1)} ${r.program}` : r.program, value: r.gain, right: r.gain == null ? "not run" : r.change, hollow: r.gain == null,
    symbol: r.champion ? "star" : "circle", colour: colour("accent"), tip: `${r.program}\ngain ${digits(r.gain)}, ${r.runs} runs\n${r.reason ?? ""}`,
  }));
  const links = data.rows.flatMap((r) => (r.parents ?? []).map((p) => at.get(p)).filter((p) => p && p.gain != null && r.gain != null)
    .map((p) => ({ x1: p.gain, x2: r.gain, y1: p.id, y2: r.id })));
  return intervals(rows, width, { label: `gain, ${data.unit}`, right: "± directives", links, narrowRight: 96, tree: true });
}

// The best so far after each experiment, from the baseline and the kept ones.
function bestSoFar(run, direction) {
  const pick = better(direction);
  let best = null;
  return run.points.map(({ number, metric, letter }) => {
    if ((letter === "k" || letter === "b") && metric != null) best = best == null ? metric : pick([best, metric]);
    return { run: run.run, number, best };
  }).filter((p) => p.best != null);
}

// Not the luckiest run: the middle one of the champion, or of the first program.
function shownRun(data) {
  if (data.shown == null) {
    const best = data.rows.filter((r) => r.role === "champion" && r.deciding);
    const own = best.length ? best : data.rows.filter((r) => r.program === data.rows[0].program && r.deciding === data.rows[0].deciding);
    data.shown = data.rows.indexOf(own[own.length >> 1]);
  }
  return data.shown;
}

// One run: kept and discarded experiments, crashes as a rug, best so far with the noise band.
function oneRun(data, width) {
  const run = data.rows[shownRun(data)];
  const inLines = run.points.every((p, i) => p.line != null && (i === 0 || p.line > run.points[i - 1].line)); // a log may be sorted by time
  const points = run.points.map((p) => ({ ...p, number: inLines ? p.line : p.number, description: p.what }));
  const steps = bestSoFar({ ...run, points }, run.direction);
  const seen = points.filter((p) => p.metric != null && "bkdur".includes(p.letter));
  const [first, best] = [steps[0]?.best ?? 0, steps.at(-1)?.best ?? 1];
  const span = Math.abs(first - best) || run.sd * 8 || Math.abs(first) || 1;
  const ends = [first, best, run.final ?? best].map((v) => v);
  const domain = [d3.min(ends) - 0.2 * span - 2 * (run.sd || 0), d3.max(ends) + 0.45 * span];
  if (run.direction === "higher") domain.splice(0, 2, d3.min(ends) - 0.45 * span, d3.max(ends) + 0.2 * span + 2 * (run.sd || 0));
  const inside = (v) => Math.min(Math.max(v, domain[0]), domain[1]);
  const begin = d3.min(points, (p) => p.number), end = d3.max(points, (p) => p.number) || 1;
  const tip = (p) => `${p.number}: ${{ b: "baseline", k: run.kept ? "kept" : "new best", d: "discarded", u: "not resolved", r: "measured again" }[p.letter]}\n${digits(p.metric, 5)} ${data.unit}\n${p.description}`;
  const dot = (letters, more) => Plot.dot(seen.filter((p) => letters.includes(p.letter)), { x: "number", y: (p) => inside(p.metric), title: tip, ...more });
  const band = steps.map((p) => ({ ...p, low: inside(p.best - 2 * run.sd), high: inside(p.best + 2 * run.sd) }));
  return Plot.plot({
    width, height: narrow(width) ? 320 : 400, marginLeft: 52, marginBottom: 42, marginTop: 26, marginRight: 26, style,
    x: { label: inLines ? "line of the log" : "experiment", labelArrow: "right", domain: [begin - 0.5, end + 1.4], ticks: integers(begin, end, width), tickFormat: "d" },
    y: { label: `${run.metric} (${run.direction} is better)`, labelArrow: "none", domain, ticks: 6 },
    marks: [
      Plot.gridY({ stroke: colour("line"), strokeOpacity: 1, ticks: 6 }),
      run.sd ? Plot.areaY(band, { x: "number", y1: "low", y2: "high", curve: "step-after", fill: colour("band") }) : null,
      Plot.line(steps, { x: "number", y: "best", curve: "step-after", stroke: colour("accent"), strokeWidth: 2 }),
      dot("du", { r: 3.5, stroke: colour("soft"), fill: colour("bg"), strokeWidth: 1.4 }),
      dot("r", { r: 4.5, symbol: "plus", stroke: colour("accent"), strokeWidth: 1.6 }),
      dot("bk", { r: 4.5, fill: colour("accent"), stroke: colour("bg") }),
      Plot.ruleX(points.filter((p) => p.letter === "x"), { x: "number", y1: domain[0], y2: domain[0] + 0.05 * (domain[1] - domain[0]), stroke: colour("warm"), strokeWidth: 2, title: (p) => `${p.number}: failed\n${p.description}` }),
      run.final == null ? null : Plot.dot([run], { x: end + 0.9, y: inside(run.final), symbol: "diamond", r: 7, stroke: colour("ink"), fill: colour("bg"), strokeWidth: 2, title: () => `final script on fresh seeds: ${digits(run.final, 5)} ${data.unit}` }),
    ],
  });
}

// Horizontal bars: rows of parts [{name, x1, x2, fill, stroke}], a text to the right of each row.
function bars(names, parts, width, { label, ends }) {
  const small = narrow(width);
  const most = d3.max(parts, (p) => p.x2) || 1;
  const left = small ? 16 : Math.min(270, 24 + 6.8 * d3.max(names, (n) => n.length));
  const ticks = small ? 4 : 8;
  const name = { y: (d) => d, text: (d) => d, frameAnchor: "left", fill: colour("ink"), stroke: colour("bg"), strokeWidth: 4 };
  return Plot.plot({
    width, height: names.length * (small ? 48 : 30) + 54, marginLeft: left, marginRight: small ? 70 : 24 + 6.4 * d3.max(ends, (e) => e.text.length), marginTop: 10, marginBottom: 40, style,
    x: { label, labelAnchor: "right", labelArrow: "right", domain: [0, most], ticks },
    y: { axis: null, domain: names, padding: 0.25 },
    marks: [
      Plot.gridX({ stroke: colour("line"), strokeOpacity: 1, ticks }),
      Plot.barX(parts, { y: "name", x1: "x1", x2: "x2", fill: "fill", stroke: "stroke", insetTop: small ? 18 : 1, title: "tip" }),
      Plot.text(names, small ? { ...name, dx: 2, dy: -12 } : { ...name, textAnchor: "end", dx: -10 }),
      Plot.text(ends, { y: "name", x: "x", text: "text", textAnchor: "start", dx: 8, dy: small ? 8 : 0, fill: colour("ink") }),
    ],
  });
}

function spent(data, width) {
  const most = d3.max(data.rows, (r) => Math.max(r.charged_seconds || 0, r.spent_seconds));
  const unit = most > 7200 ? [3600, "hours", "h"] : most > 300 ? [60, "minutes", "min"] : [1, "seconds", "s"];
  const parts = data.rows.flatMap((r) => {
    const fill = colour(r.paid_by === "run" ? "accent" : "soft");
    const one = (value, more) => ({ name: r.what, x1: 0, x2: value / unit[0], ...more });
    return [one(r.charged_seconds || 0, { fill: colour("bg"), stroke: colour("ink"), tip: `charged ${digits(r.charged_seconds, 3)} s` }), one(r.spent_seconds, { fill, stroke: fill, tip: `spent ${digits(r.spent_seconds, 3)} s` })].filter((p) => p.x2 > 0);
  });
  const ends = data.rows.map((r) => ({ name: r.what, x: Math.max(r.charged_seconds || 0, r.spent_seconds) / unit[0], text: `${digits(r.spent_seconds / unit[0], 3)} ${unit[2]}` }));
  return bars(data.rows.map((r) => r.what), parts, width, { label: `device ${unit[1]}`, ends });
}

// The gain that each log claims, and the gain expected from noise alone.
function claims(data, width) {
  const rows = data.rows.map((r, i) => ({
    ...r, id: String(i), name: r.log, value: r.claimed_gain, claimed: r.chance_gain, right: `${r.kept + r.new_bests}/${r.tried}`, symbol: "circle", colour: colour("accent"), tip: `${r.log}\nclaims ${digits(r.claimed_gain)}`,
  }));
  return intervals(rows, width, { label: `claimed gain, ${data.unit}`, right: rows.every((r) => !r.new_bests) ? "kept" : rows.every((r) => !r.kept) ? "bests" : "kept or best", narrowRight: 84 });
}

const CHARTS = { standings, claims, effects, lineage, run: oneRun, spent };
