// What every page of ours uses: elements, tables, switches, plots. Texts are set as text, never as HTML.
"use strict";
let page = null; // what is shown: embedded in a file, or fetched by the board (live.js)
const view = {};
const CONFIG = { displaylogo: false, displayModeBar: "hover", responsive: true, modeBarButtonsToRemove: ["sendChartToCloud", "select2d", "lasso2d"] };

// Elements

const element = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.onclick = value;
    else if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null).map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

function pairs(list, entries, wrap = (text) => text) {
  list.replaceChildren(...entries.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, wrap(text))]));
}

function table(target, heads, rows, act = null) { // a row: its cells, and what `act` is called with when it is clicked
  const head = make("tr", {}, ...heads.map((text) => make("th", {}, text)));
  const body = rows.map(([cells, key]) =>
    make("tr", act && key ? { onclick: () => act(key), style: "cursor: pointer" } : {}, ...cells.map((text) => make("td", {}, text))));
  target.replaceChildren(make("thead", {}, head), make("tbody", {}, ...body));
}

function switches(target, options, key, act) {
  element(target).replaceChildren(...options.map(([value, label]) => make("button", {
    "data-value": value,
    "aria-pressed": String(view[key] === value),
    onclick: () => { view[key] = value; switches(target, options, key, act); act(); },
  }, label)));
}

const chips = (settings) => make("div", { class: "chips" },
  ...Object.entries(settings).map(([key, value]) => make("span", {}, `${key} = ${value}`)));
const code = (text) => make("code", {}, text);
const runName = (name) => (element("data") ? name : make("a", { href: `/runs/${encodeURIComponent(name)}` }, name));
const clean = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const moment = (seconds) => new Date(seconds * 1000).toLocaleString();

function begin(start) { // at once in a file of its own; a page of the board begins when it has its data
  const embedded = element("data");
  if (!embedded) return;
  page = JSON.parse(embedded.textContent);
  start();
}

// Plots

function axis(title, more = {}) {
  return {
    title: { text: clean(title), font: { size: 12 } }, gridcolor: "#eceff3", zeroline: false, linecolor: "#cdd4de", exponentformat: "power", automargin: true, ...more,
  };
}

function draw(target, traces, layout, onclick = null) { // `onclick` is called with the customdata of a clicked point
  const shared = {
    font: { family: "system-ui, 'Segoe UI', Roboto, sans-serif", size: 12, color: "#333c4a" }, hovermode: "closest", showlegend: false,
    uirevision: `${view.x} ${view.y}`, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 60, r: 16, t: 22, b: 46 }, height: 300, ...layout,
    modebar: { bgcolor: "rgba(0,0,0,0)", color: "#c3cad4", activecolor: "#5b6575" },
  };
  Plotly.react(element(target), traces, shared, CONFIG).then((plot) => {
    plot.removeAllListeners("plotly_click");
    if (onclick) plot.on("plotly_click", (event) => onclick(event.points.map((point) => point.customdata)));
  });
}

function quantile(values, share) {
  const ordered = values.filter((value) => Number.isFinite(value)).sort((a, b) => a - b);
  return ordered[Math.floor(share * (ordered.length - 1))];
}

function rangeOf(values) {
  if (!values.length) return null;
  const [first, third] = [quantile(values, 0.25), quantile(values, 0.75)];
  const few = values.length < 8; // all of them are shown; of more, what lies far out would press the others into one line
  const reach = few ? Infinity : 3 * (third - first || Infinity);
  const [low, high] = [Math.max(quantile(values, 0), first - reach), Math.min(quantile(values, 1), third + reach)];
  const margin = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - margin, high + margin];
}

const X_TITLES = { steps: "optimizer step", tokens: "tokens", seconds: "seconds of training" };
