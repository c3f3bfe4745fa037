// List of runs and sweeps: filtered, sorted and cut into pages by the board, which is asked again every few seconds.
"use strict";
const SIZE = 50;
const SORTS = { state: "state", run: "name", model: "model", step: "step", loss: "loss", evaluation: "evaluation", updated: "updated" };
const typed = new URLSearchParams(location.search);
Object.assign(view, {
  filter: typed.get("filter") ?? "", state: typed.get("state") ?? "", sort: typed.get("sort") ?? "updated",
  descending: typed.get("descending") ?? "1", page: Number(typed.get("page") ?? 0), newest: 0,
});

const short = (value) => (Number.isFinite(value) ? value.toFixed(4) : "");

function question() {
  const { filter, state, sort, descending, page: number } = view;
  return new URLSearchParams({ filter, state, sort, descending, page: number });
}

async function showRuns() {
  const asked = ++view.newest;
  const answer = await ask(`/api/runs?${question()}&size=${SIZE}`);
  if (asked !== view.newest) return; // an answer to an earlier question came late
  const pages = Math.max(1, Math.ceil(answer.total / SIZE));
  if (view.page >= pages) { view.page = pages - 1; return showRuns(); }
  const [looked, all] = answer.progress;
  element("outputs").textContent = `of ${answer.outputs}`;
  element("count").textContent = `${answer.total.toLocaleString()} runs${looked < all ? `, reading ${looked} of ${all}` : ""}`;
  showStates(answer.states);
  showRows(answer.rows);
  element("place").textContent = `page ${view.page + 1} of ${pages}`;
  element("earlier").disabled = view.page === 0;
  element("later").disabled = view.page + 1 >= pages;
  document.documentElement.dataset.ready = "yes";
}

function showStates(states) {
  const options = [["", "all"], ...Object.keys(states).sort().map((state) => [state, `${state} ${states[state].toLocaleString()}`])];
  if (view.state && !(view.state in states)) options.push([view.state, `${view.state} 0`]);
  switches("states", options, "state", changed);
}

function showRows(rows) {
  const order = (key) => (view.sort === key ? (view.descending === "1" ? "▾" : "▴") : null);
  const head = ["state", "run", "model", "step", "loss", "evaluation", "left", "updated", "reason"].map((title) => {
    const key = SORTS[title];
    return make("th", key ? { class: "sortable", "data-order": order(key), "data-sort": key, onclick: () => sortBy(key) } : {}, title);
  });
  const body = rows.map((row) => make("tr", { "data-run": row.name }, ...[
    make("span", { class: `state ${row.state}` }, row.state), runName(row.name), row.model,
    row.total_steps ? `${row.step.toLocaleString()} / ${row.total_steps.toLocaleString()}` : "",
    short(row.loss), short(row.evaluation), row.seconds_left ? `${Math.ceil(row.seconds_left / 60)} min` : "",
    make("span", { title: moment(row.updated) }, ago(row.updated)), make("span", { title: row.reason }, row.reason),
  ].map((cell) => make("td", {}, cell))));
  element("runs").replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
}

async function showSweeps() {
  const { rows } = await ask("/api/sweeps");
  element("sweeps-section").hidden = !rows.length;
  table(element("sweeps"), ["sweep", "kind", "trials", "how they stand", "updated"], rows.map((row) => [[
    make("a", { href: `/sweeps/${encodeURIComponent(row.name)}` }, row.name), row.searches ? "search" : "grid", row.trials,
    row.over ? `over: ${row.over}` : Object.entries(row.states).map(([state, count]) => `${count} ${state}`).join(", "), ago(row.updated),
  ]]));
}

function changed() {
  view.page = 0;
  showAgain();
}

function showAgain() {
  history.replaceState(null, "", `?${question()}`);
  showRuns().then(() => notice(""), (error) => notice(error.message));
}

function sortBy(key) {
  view.descending = view.sort === key ? String(1 - Number(view.descending)) : "1";
  view.sort = key;
  changed();
}

element("filter").value = view.filter;
element("filter").addEventListener("input", (event) => { view.filter = event.target.value; changed(); });
element("earlier").onclick = () => { view.page -= 1; showAgain(); };
element("later").onclick = () => { view.page += 1; showAgain(); };
keepLooking(async () => { await showRuns(); await showSweeps(); await showActs(); }, 3);
