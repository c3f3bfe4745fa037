// Sweep page: the leaderboard, the plots and the history of a search, from `page` (page.js).
let objective, larger, byNumber, searchText, measured, shareOf; // of `page`: prepare()
Object.assign(view, { selected: null, filter: "", sort: null, descending: false, x: "steps", y: null, history: "trial" });
const SHOWN_ROWS = 1000;
const GREY = "#9aa4b2";
const ACCENT = "#d1331f";

// The head of the page

function showHead() {
  element("title").textContent = page.name;
  element("question").textContent = page.question;
  element("made").textContent = page.footnote;
  pairs(element("facts"), Object.entries(page.facts));
  const answer = element("answer");
  if (!page.best) {
    answer.replaceChildren(make("h2", {}, "Best"), make("p", { class: "soft" }, "No trial has finished yet."));
    return;
  }
  const { trial, result, over, settings, commands } = page.best;
  const list = make("dl");
  pairs(list, Object.entries(commands), code);
  answer.replaceChildren(
    make("h2", {}, `Best: trial ${trial}`), make("div", { class: "best" }, result), make("div", { class: "soft" }, over),
    chips(settings), list);
}

// Which trials are shown

const textOf = (trial) => [
  trial.state, ...page.columns.map((column, i) => `${column.head}=${trial.texts[i]}`),
  ...Object.entries(trial.settings).map(([key, value]) => `${key}=${value}`),
].join(" ").toLowerCase();

function matches(trial, word) {
  const comparison = word.match(/^(.+?)(<=|>=|<|>)(-?[\d.]+(?:e[-+]?\d+)?)$/);
  if (!comparison) return searchText.get(trial.number).includes(word);
  const [, name, sign, bound] = comparison;
  const place = page.columns.findIndex((column) => [column.name, column.head].some((known) => known.toLowerCase() === name));
  const value = place < 0 ? null : trial.values[place];
  if (value === null || value === "" || Number.isNaN(Number(value))) return false;
  const difference = Number(value) - Number(bound);
  return { "<": difference < 0, ">": difference > 0, "<=": difference <= 0, ">=": difference >= 0 }[sign];
}

function visible() {
  const words = view.filter.toLowerCase().split(/\s+/).filter(Boolean);
  return page.trials.filter((trial) => words.every((word) => matches(trial, word)));
}

// Leaderboard

const asNumber = (value) => (value === null || value === "" || typeof value === "boolean" ? NaN : Number(value));

function sorted(trials) {
  if (view.sort === null) return trials;
  const sign = view.descending ? -1 : 1;
  return [...trials].sort((a, b) => {
    const [left, right] = [a.values[view.sort], b.values[view.sort]];
    const [x, y] = [asNumber(left), asNumber(right)];
    if (!Number.isNaN(x) && !Number.isNaN(y)) return sign * (x - y);
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
    return sign * String(left ?? "").localeCompare(String(right ?? ""));
  });
}

function sortBy(place) {
  view.descending = view.sort === place ? !view.descending : page.columns[place].descending;
  view.sort = place;
  showLeaderboard();
}

function showLeaderboard() {
  const trials = sorted(visible());
  const order = (i) => (view.sort === i ? (view.descending ? "▾" : "▴") : null);
  const used = page.columns.map((_, i) => i).filter((i) => page.trials.some((trial) => !["", "-", "0"].includes(trial.texts[i])));
  const head = make("tr", {}, ...used.map((i) =>
    make("th", { class: "sortable", "data-order": order(i), onclick: () => sortBy(i) }, page.columns[i].head)));
  const cell = (trial, i) => make("td", { class: page.columns[i].name === "reason" ? "long" : null },
    page.columns[i].name === "state" ? make("span", { class: `state ${trial.state}` }, trial.texts[i]) : trial.texts[i]);
  const rows = trials.slice(0, SHOWN_ROWS).map((trial) => make("tr", {
    "data-trial": trial.number, class: trial.number === view.selected ? "selected" : null, onclick: () => select(trial.number),
  }, ...used.map((i) => cell(trial, i))));
  element("leaderboard").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
  const cut = trials.length > SHOWN_ROWS ? `, the first ${SHOWN_ROWS} shown` : "";
  element("count").textContent = `${trials.length} of ${page.trials.length}${cut}`;
}

function showDetail() {
  const trial = byNumber.get(view.selected);
  if (!trial) {
    element("detail").replaceChildren(make("p", { class: "soft" }, "Click a trial, here or in a plot: its curve stands out, and this place shows its settings, its log and how to reproduce it."));
    return;
  }
  const runs = trial.runs.map((run) => {
    const list = make("dl");
    pairs(list, [["log", run.log], ...Object.entries(run.commands)], code);
    return make("div", { class: "run" }, make("b", {}, runName(run.name)), list);
  });
  const head = [make("h2", {}, `Trial ${trial.number}`), make("span", { class: `state ${trial.state}` }, trial.state), chips(trial.settings)];
  element("detail").replaceChildren(...head, ...(trial.reason ? [make("p", {}, trial.reason)] : []), ...runs);
}

// Colours: the better a trial's result, the darker

const STOPS = [[49, 18, 99], [52, 84, 148], [37, 132, 142], [72, 176, 124], [170, 205, 90]];

function colour(share) {
  const place = Math.max(0, Math.min(1, share)) * (STOPS.length - 1);
  const low = Math.min(STOPS.length - 2, Math.floor(place));
  const mixed = STOPS[low].map((start, i) => Math.round(start + (STOPS[low + 1][i] - start) * (place - low)));
  return `rgb(${mixed.join(",")})`;
}

const colourOf = (number) => (shareOf.has(number) ? colour(shareOf.get(number)) : GREY);
const opacityOf = (number) => (view.selected === null || number === view.selected ? 1 : 0.25);

// Plots

function drawTrials(target, traces, layout) {
  draw(target, traces, layout, (keys) => {
    const clicked = keys.find((number) => byNumber.has(number));
    if (clicked !== undefined) select(clicked);
  });
}

function label(trial) {
  const settings = Object.entries(trial.settings).map(([key, value]) => `${clean(key)}=${clean(value)}`);
  const mean = trial.means && trial.means[0] !== null ? `${clean(objective)} ${trial.means[0].toPrecision(4)}` : trial.state;
  return [`<b>trial ${trial.number}</b>: ${mean}`, ...settings].join("<br>");
}


function showCurves() {
  const shown = new Set(visible().map((trial) => trial.number));
  const drawn = page.curves.filter((curve) => shown.has(curve.trial));
  const faint = { x: [], y: [], mode: "lines", line: { width: 1, color: "rgba(120,132,150,0.22)" }, hoverinfo: "skip" };
  for (const curve of drawn) {
    faint.x.push(...curve.loss[view.x], null);
    faint.y.push(...curve.loss.values, null);
  }
  const order = (curve) => (curve.trial === view.selected ? 1 : 0);
  const smooth = [...drawn].sort((a, b) => order(a) - order(b)).map((curve) => ({
    x: curve.loss[view.x], y: curve.smooth, mode: "lines", opacity: opacityOf(curve.trial), customdata: curve.smooth.map(() => curve.trial),
    line: { width: order(curve) ? 3.5 : 1.6, color: order(curve) ? ACCENT : colourOf(curve.trial) },
    hovertemplate: `%{y:.4g}<br>${label(byNumber.get(curve.trial))}${curve.seed === null ? "" : `<br>seed=${curve.seed}`}<extra></extra>`,
  }));
  const dots = { x: [], y: [], mode: "markers", customdata: [], text: [], marker: { size: [], color: [], opacity: [] } };
  for (const curve of drawn) {
    curve.evaluations.values.forEach((value, i) => {
      dots.x.push(curve.evaluations[view.x][i]);
      dots.y.push(value);
      dots.customdata.push(curve.trial);
      dots.text.push(`evaluation ${value.toPrecision(4)}<br>trial ${curve.trial}`);
      dots.marker.size.push(order(curve) ? 9 : 6);
      dots.marker.color.push(order(curve) ? ACCENT : colourOf(curve.trial));
      dots.marker.opacity.push(opacityOf(curve.trial));
    });
  }
  const values = [...faint.y.filter((value) => value !== null), ...dots.y];
  const log = view.y === "log";
  const range = log || !values.length ? {} : { range: rangeOf(values) };
  drawTrials("curves", [faint, ...smooth, { ...dots, hovertemplate: "%{text}<extra></extra>" }], {
    height: 420, xaxis: axis(X_TITLES[view.x]), yaxis: axis("loss (nats per token)", { type: log ? "log" : "linear", ...range }),
  });
}

const numeric = (texts) => texts.every((text) => text !== "" && Number.isFinite(Number(text)));
const wide = (numbers) => Math.min(...numbers) > 0 && Math.max(...numbers) / Math.min(...numbers) >= 20;

function dimension(name, texts) {
  const known = texts.filter((text) => text !== null && text !== undefined);
  if (numeric(known) && new Set(known).size > 1) {
    const numbers = known.map(Number);
    const scale = wide(numbers) ? Math.log10 : (x) => x;
    const [low, high] = [scale(Math.min(...numbers)), scale(Math.max(...numbers))];
    const short = (x) => Number(x).toPrecision(3).replace(/\.?0+(?=$|e)/, "");
    return {
      name, place: (text) => (scale(Number(text)) - low) / (high - low),
      ticks: [[0, short(Math.min(...numbers))], [1, short(Math.max(...numbers))]],
    };
  }
  const choices = [...new Set(known)].sort();
  const place = (text) => (choices.length > 1 ? choices.indexOf(text) / (choices.length - 1) : 0.5);
  return { name, place, ticks: choices.map((choice) => [place(choice), choice]) };
}

function showParallel() {
  const trials = visible().filter((trial) => trial.means && trial.means[0] !== null);
  element("parallel-section").hidden = !page.settings.length || !measured.length;
  const dimensions = page.settings.map((key) => [dimension(key, measured.map((trial) => trial.settings[key])), (trial) => trial.settings[key]]);
  dimensions.push([dimension(objective, measured.map((trial) => trial.means[0])), (trial) => trial.means[0]]);
  const bins = new Map();
  for (const trial of [...trials].reverse()) {
    const key = trial.number === view.selected ? "selected" : Math.round(11 * (shareOf.get(trial.number) ?? 1));
    if (!bins.has(key)) bins.set(key, { x: [], y: [], customdata: [], text: [] });
    const bin = bins.get(key);
    dimensions.forEach(([{ place }, valueOf], i) => {
      const value = valueOf(trial);
      bin.x.push(i); bin.y.push(value === undefined ? null : place(value)); bin.customdata.push(trial.number); bin.text.push(label(trial));
    });
    bin.x.push(null); bin.y.push(null); bin.customdata.push(null); bin.text.push("");
  }
  const traces = [...bins].sort(([a], [b]) => (a === "selected") - (b === "selected") || b - a).map(([key, bin]) => ({
    ...bin, mode: "lines+markers", connectgaps: false, hovertemplate: "%{text}<extra></extra>", marker: { size: 5 },
    line: { color: key === "selected" ? ACCENT : colour(key / 11), width: key === "selected" ? 3.5 : 1.4 },
    opacity: key === "selected" || view.selected === null ? 0.85 : 0.25,
  }));
  const marks = dimensions.flatMap(([{ name, ticks }], i) => [
    { x: i, y: 1.13, text: `<b>${clean(name)}</b>`, showarrow: false },
    ...ticks.slice(0, 12).map(([y, text]) => ({ x: i, y, text: clean(text), showarrow: false, xanchor: "right", xshift: -7, bgcolor: "rgba(255,255,255,0.75)" })),
  ]);
  const lines = dimensions.map((_, i) => ({ type: "line", x0: i, x1: i, y0: 0, y1: 1, line: { color: "#b9c2ce", width: 1 }, layer: "below" }));
  drawTrials("parallel", traces, {
    height: 360, annotations: marks, shapes: lines, margin: { l: 50, r: 40, t: 30, b: 16 },
    xaxis: { visible: false, range: [-0.35, dimensions.length - 0.75], fixedrange: true }, yaxis: { visible: false, range: [-0.06, 1.18], fixedrange: true },
  });
}

function dots(trials, x, y, more = {}) {
  return {
    x: trials.map(x), y: trials.map(y), mode: "markers", customdata: trials.map((trial) => trial.number), text: trials.map(label),
    hovertemplate: "%{text}<extra></extra>",
    marker: {
      symbol: trials.map((trial) => (trial.state === "finished" ? "circle" : "circle-open")),
      size: trials.map((trial) => (trial.number === view.selected ? 13 : 8)), opacity: trials.map((trial) => Math.max(0.35, opacityOf(trial.number))),
      color: trials.map((trial) => (trial.number === view.selected ? ACCENT : colourOf(trial.number))), line: { width: trials.map((trial) => (trial.state === "finished" ? 0.6 : 1.6)), color: trials.map((trial) => (trial.state === "finished" ? "#fff" : colourOf(trial.number))) },
    },
    ...more,
  };
}

function showSettings() {
  const trials = visible().filter((trial) => trial.means && trial.means[0] !== null);
  element("settings-section").hidden = !page.settings.length || !measured.length;
  const columns = Math.min(3, page.settings.length) || 1;
  const rows = Math.ceil(page.settings.length / columns) || 1;
  const layout = { grid: { rows, columns, pattern: "independent", xgap: 0.16, ygap: 0.36 }, height: 40 + 230 * rows };
  const range = rangeOf(measured.map((trial) => trial.means[0]));
  const traces = page.settings.map((key, i) => {
    const here = trials.filter((trial) => key in trial.settings);
    const texts = here.map((trial) => trial.settings[key]);
    const counts = numeric(texts) && new Set(texts).size > 2;
    const kind = counts ? { type: wide(texts.map(Number)) ? "log" : "linear" } : { type: "category" };
    const number = i ? i + 1 : "";
    layout[`xaxis${number}`] = axis(key, kind);
    layout[`yaxis${number}`] = axis(i % columns ? "" : objective, { range });
    return dots(here, (trial) => (counts ? Number(trial.settings[key]) : trial.settings[key]), (trial) => trial.means[0], { xaxis: `x${number}`, yaxis: `y${number}` });
  });
  drawTrials("settings", traces, layout);
}

function showImportance() {
  element("importance-note").textContent = page.importance_note;
  const entries = Object.entries(page.importance).reverse();
  element("importance").hidden = !entries.length;
  if (!entries.length) return;
  drawTrials("importance", [{
    type: "bar", orientation: "h", x: entries.map(([, share]) => share), y: entries.map(([key]) => clean(key)), marker: { color: "#34549a" },
    text: entries.map(([, share]) => `${Math.round(100 * share)} %`), textposition: "auto", hoverinfo: "skip",
  }], { height: 60 + 40 * Math.max(2, entries.length), xaxis: axis("share", { range: [0, 1], tickformat: ".0%" }), yaxis: axis("") });
}

function showCost() {
  const trials = visible().filter((trial) => trial.means && trial.means[0] !== null && trial.cost !== null);
  drawTrials("cost", [dots(trials, (trial) => trial.cost, (trial) => trial.means[0])], {
    xaxis: axis(page.cost_unit, { rangemode: "tozero" }), yaxis: axis(objective, { range: rangeOf(measured.map((trial) => trial.means[0])) }),
  });
}

function showTradeOff() {
  const names = Object.keys(page.objectives);
  element("trade-off-section").hidden = names.length < 2;
  if (names.length < 2) return;
  const trials = visible().filter((trial) => trial.means && trial.means.every((mean) => mean !== null));
  const front = page.trials.filter((trial) => trial.on_front).sort((a, b) => a.means[0] - b.means[0]);
  const line = { x: front.map((trial) => trial.means[0]), y: front.map((trial) => trial.means[1]), mode: "lines", line: { color: ACCENT, dash: "dot" }, hoverinfo: "skip" };
  drawTrials("trade-off", [line, dots(trials, (trial) => trial.means[0], (trial) => trial.means[1])], { height: 360, xaxis: axis(names[0]), yaxis: axis(names[1]) });
}

function showHistory() {
  const byTime = view.history === "time";
  let best = null;
  const steps = page.results.map((result, i) => {
    if (best === null || (larger ? result.mean > best : result.mean < best)) best = result.mean;
    return { x: byTime ? new Date(result.at * 1000) : i + 1, best, result };
  });
  const known = steps.filter(({ result }) => byNumber.has(result.trial));
  const points = dots(known.map(({ result }) => byNumber.get(result.trial)), () => 0, () => 0);
  drawTrials("history", [
    { x: steps.map((step) => step.x), y: steps.map((step) => step.best), mode: "lines", line: { shape: "hv", width: 2.5, color: "#34549a" }, hoverinfo: "skip" },
    { ...points, x: known.map((step) => step.x), y: known.map((step) => step.result.mean) },
  ], { xaxis: axis(byTime ? "time" : "finished trials, in the order of their ends", byTime || steps.length > 12 ? {} : { dtick: 1 }), yaxis: axis(`${objective}, best so far`, { range: rangeOf(page.results.map((result) => result.mean)) }) });
}

function showTables() {
  element("rungs").replaceChildren();
  if (page.rungs.length) {
    const rungs = make("table", {});
    table(rungs, ["rung", "ends at step", "trials that got there", "went on", "pruned there"], page.rungs.map((rung) => [[rung.rung, rung.step ?? "", rung.reached, rung.promoted, rung.pruned]]));
    element("rungs").append(rungs);
  }
  table(element("events"), ["when", "trial", "what", "asked for by"], page.happenings.map((event) =>
    [[moment(event.at), event.trial ?? "", event.text, event.by_user ? "a user" : ""], event.trial]), select);
  const failed = page.trials.filter((trial) => trial.state === "failed");
  element("failures-section").hidden = !failed.length;
  table(element("failures"), ["trial", "settings", "reason", "log"], failed.map((trial) => [[
    trial.number, Object.entries(trial.settings).map(([key, value]) => `${key}=${value}`).join(" "), trial.reason, trial.runs.map((run) => run.log).join(" "),
  ], trial.number]), select);
  element("left-out-section").hidden = !page.left_out.length;
  table(element("left-out"), ["settings", "reason"], page.left_out.map((cells) => [cells]));
}

// Acts

function select(number) {
  view.selected = view.selected === number ? null : number;
  showLeaderboard();
  showDetail();
  showPlots();
}

function showPlots() {
  showCurves();
  showTradeOff();
  showParallel();
  showSettings();
  showCost();
  showHistory();
}

function prepare() {
  objective = Object.keys(page.objectives)[0];
  larger = page.objectives[objective] === "max";
  byNumber = new Map(page.trials.map((trial) => [trial.number, trial]));
  searchText = new Map(page.trials.map((trial) => [trial.number, textOf(trial)]));
  measured = page.trials.filter((trial) => trial.means && trial.means[0] !== null);
  const better = [...measured].sort((a, b) => (larger ? b.means[0] - a.means[0] : a.means[0] - b.means[0]));
  shareOf = new Map(better.map((trial, i) => [trial.number, better.length > 1 ? i / (better.length - 1) : 0]));
}

function showAll() { // what the data decide; once more whenever they have changed
  prepare();
  showHead();
  showLeaderboard();
  showDetail();
  showTables();
  element("curves-note").textContent = page.curves_note;
  showPlots();
  showImportance();
}

function start() {
  const losses = page.curves.flatMap((curve) => curve.smooth).filter((value) => value > 0);
  view.y = losses.length && Math.max(...losses.slice(0, 50000)) > 8 * Math.min(...losses.slice(0, 50000)) ? "log" : "linear";
  showAll();
  switches("x-switch", [["steps", "steps"], ["tokens", "tokens"], ["seconds", "time"]], "x", showCurves);
  switches("y-switch", [["linear", "linear"], ["log", "log"]], "y", showCurves);
  switches("history-switch", [["trial", "by trial"], ["time", "by time"]], "history", showHistory);
  element("filter").addEventListener("input", (event) => { view.filter = event.target.value; showLeaderboard(); showPlots(); });
  document.documentElement.dataset.ready = "yes";
}

begin(start);
