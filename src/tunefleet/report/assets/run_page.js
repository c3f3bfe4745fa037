// Run page: the curves, results, settings and answers of one run, or of several beside each other, from `page` (page.js).
const PALETTE = ["#34549a", "#d1731f", "#2b8a5a", "#a23b72", "#6b6bd6", "#8a6d1f", "#1f8a8a", "#c0392b"];
const several = () => page.runs.length > 1;
Object.assign(view, { x: "steps", y: "linear", smoothing: 0.9 });

const shade = (i) => PALETTE[i % PALETTE.length];
const faded = (colour) => `${colour}38`;
const isEvaluation = (key) => key.startsWith("evaluation/");
const isLoss = (key) => key.endsWith("/loss");
const NAMES = { "train/loss": "training loss", "train/lr": "learning rate" };
const shortName = (key) => NAMES[key] ?? key.replace(/^(evaluation|train|memory)\//, "").replace(/\/loss$/, "").replaceAll("_", " ");
const short = (value) => (Number.isFinite(value) ? Number(value.toPrecision(4)).toString() : "");

function smoothed(values) { // an exponential moving average, unbiased at its beginning
  let [average, weight] = [0, 0];
  return values.map((value) => {
    average = view.smoothing * average + (1 - view.smoothing) * value;
    weight = view.smoothing * weight + 1 - view.smoothing;
    return average / weight;
  });
}

// Curves

function line(run, key, colour, more = {}) {
  const curve = page.runs[run].curves[key];
  const name = several() ? `${page.runs[run].name}: ${shortName(key)}` : shortName(key);
  return { x: curve[view.x], y: curve.values, name: clean(name), line: { color: colour, width: 1.8 }, hovertemplate: "%{y:.4g}", ...more };
}

const keysOf = (run, wanted) => Object.keys(page.runs[run].curves).filter(wanted);

function showLoss() {
  const traces = page.runs.flatMap((_, run) => keysOf(run, isLoss).flatMap((key, i) => {
    const colour = shade(several() ? run : i);
    if (isEvaluation(key)) return [line(run, key, colour, { mode: "lines+markers", marker: { size: 7 }, line: { color: colour, width: 1, dash: "dot" } })];
    const raw = line(run, key, faded(colour), { mode: "lines", hoverinfo: "skip", hovertemplate: null, showlegend: false });
    return [raw, line(run, key, colour, { mode: "lines", y: smoothed(page.runs[run].curves[key].values) })];
  }));
  draw("loss", traces, {
    height: 440, hovermode: "x unified", showlegend: true, legend: { orientation: "h", y: -0.16 },
    xaxis: axis(X_TITLES[view.x]), yaxis: axis("loss (nats per token)", { type: view.y }),
  });
}

function charts() { // a chart for each metric, its splits together
  const keys = [...new Set(page.runs.flatMap((_, run) => keysOf(run, (key) => !isLoss(key) && key !== "train/seconds")))];
  const titles = new Map();
  for (const key of keys) {
    const values = page.runs.map((run) => run.curves[key]?.values ?? []);
    const saysNothing = isEvaluation(key) ? values.every((list) => list.length < 2) : values.flat().every((value) => value === 0);
    if (saysNothing) continue;
    const title = isEvaluation(key) ? shortName(key.split("/").at(-1)) : key.startsWith("memory/") ? "memory (GiB)" : shortName(key);
    titles.set(title, [...(titles.get(title) ?? []), key]);
  }
  return [...titles];
}

function showCharts() {
  const drawn = charts();
  if (element("charts").childElementCount !== drawn.length) { // else each is drawn over, and stays as it was zoomed
    element("charts").replaceChildren(...drawn.map((_, i) => make("div", { id: `chart-${i}` })));
  }
  drawn.forEach(([title, keys], i) => {
    const pairsOf = page.runs.flatMap((run, n) => keys.filter((key) => run.curves[key]).map((key) => [n, key]));
    const traces = pairsOf.map(([run, key], n) => line(run, key, shade(several() ? run : n), { mode: isEvaluation(key) ? "lines+markers" : "lines" }));
    draw(`chart-${i}`, traces, {
      height: 250, hovermode: "x unified", xaxis: axis(X_TITLES[view.x]), yaxis: axis("", { rangemode: title === "memory (GiB)" ? "tozero" : "normal" }),
      title: { text: clean(title), font: { size: 13 }, x: 0.02 }, margin: { l: 56, r: 12, t: 34, b: 42 },
    });
  });
}

// Tables

function across(target, labels, cell) { // a row for each label, a column for each run
  const heads = ["", ...page.runs.map((run) => run.name)];
  table(element(target), heads, labels.map((label) => [[label, ...page.runs.map((run) => cell(run, label) ?? "")]]));
}

const every = (part) => [...new Set(page.runs.flatMap((run) => Object.keys(run[part])))];

function showRuns() {
  element("runs-section").hidden = !several();
  element("facts-pair").hidden = several();
  const [run] = page.runs;
  if (!several()) {
    element("reason").replaceChildren(make("span", { class: `state ${run.state}` }, run.state), run.reason ? ` ${run.reason}` : "");
    pairs(element("facts"), Object.entries(run.facts));
    pairs(element("results"), Object.entries(run.results).map(([name, value]) => [name.replaceAll("_", " "), short(value)]));
    return;
  }
  const labels = ["state", "reason", ...every("facts"), ...every("results")];
  across("runs", labels, (r, label) => (label in r.results ? short(r.results[label]) : r.facts[label] ?? r[label]));
}

function showSettings() {
  const wanted = element("settings-filter").value.toLowerCase();
  across("settings", every("settings").filter((key) => key.includes(wanted)), (run, key) => run.settings[key]);
}

function showSamples() {
  const rows = page.runs.flatMap((run) => run.samples.map((sample) => ({ ...(several() ? { run: run.name } : {}), ...sample })));
  element("samples-section").hidden = !rows.length;
  const heads = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const wanted = element("samples-filter").value.toLowerCase();
  const shown = rows.filter((row) => Object.values(row).join("\n").toLowerCase().includes(wanted));
  table(element("samples"), heads, shown.map((row) => [heads.map((head) => row[head] ?? "")]));
  element("samples-count").textContent = `${shown.length} of ${rows.length}`;
}

function showOrigins() {
  const labels = [...every("data").map((name) => ["data", name]), ...every("provenance").map((name) => ["provenance", name])];
  const heads = ["", ...page.runs.map((run) => run.name)];
  table(element("origins"), heads, labels.map(([part, name]) => [[`${part}: ${name}`, ...page.runs.map((run) => run[part][name] ?? "")]]));
}

function start() {
  element("title").textContent = page.title;
  element("made").textContent = page.footnote;
  showRuns();
  element("differing-section").hidden = !several();
  across("differing", page.differing, (run, key) => run.settings[key]);
  const redraw = () => { showLoss(); showCharts(); };
  switches("x-switch", [["steps", "steps"], ["tokens", "tokens"], ["seconds", "time"]], "x", redraw);
  switches("y-switch", [["linear", "linear"], ["log", "log"]], "y", showLoss);
  element("smoothing").addEventListener("input", (event) => { view.smoothing = Number(event.target.value); showLoss(); });
  element("settings-filter").addEventListener("input", showSettings);
  element("samples-filter").addEventListener("input", showSamples);
  redraw();
  showSettings();
  showSamples();
  showOrigins();
  document.documentElement.dataset.ready = "yes";
}

begin(start);
