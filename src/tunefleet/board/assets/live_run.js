// Page of a run that goes on: its curves grow by the rows that were added, its log by the lines.
"use strict";
const MOST_POINTS = 4000; // of a curve; above that every second one goes
const MOST_LINES = 2000;
const name = nameInAddress();
const place = `/api/runs/${encodeURIComponent(name)}`;
Object.assign(view, { target: name, cursor: null, offered: null, offset: null });
document.title = `${name} - tunefleet board`;

async function showFirst() {
  const answer = await ask(place);
  view.cursor = answer.cursor;
  page = { title: name, footnote: "", differing: [], runs: [answer.run] };
  Object.assign(view, { mayAct: answer.may_act, host: answer.host });
  const ranks = Array.from({ length: Math.max(1, answer.ranks) }, (_, rank) => make("option", { value: rank }, rank));
  element("rank").replaceChildren(...ranks);
  start();
  offer(answer.acts);
}

async function showNews() {
  if (view.cursor === null) return showFirst();
  const news = await ask(`${place}/news?cursor=${encodeURIComponent(view.cursor)}`);
  const [run] = page.runs;
  view.cursor = news.cursor;
  Object.assign(run, { state: news.state, reason: news.reason });
  Object.assign(run.facts, news.facts);
  run.results = news.restarted ? news.results : { ...run.results, ...news.results };
  showRuns();
  if (news.restarted || Object.keys(news.curves).length) {
    if (news.restarted) run.curves = {};
    for (const [key, curve] of Object.entries(news.curves)) grow(run.curves, key, curve);
    showLoss();
    showCharts();
  }
  if (news.samples !== null) {
    run.samples = news.samples;
    showSamples();
  }
  offer(news.acts);
}

function grow(curves, key, added) {
  const curve = Object.hasOwn(curves, key) ? curves[key] : (curves[key] = { steps: [], tokens: [], seconds: [], values: [] });
  const thin = curve.values.length > MOST_POINTS;
  for (const part of Object.keys(curve)) {
    if (thin) curve[part] = curve[part].filter((_, i) => i % 2 === 0);
    curve[part] = curve[part].concat(added[part]);
  }
}

const QUESTIONS = {
  cancel: () => "End it for good? It saves first.",
  resume: () => `Start it again, on ${view.host} or where its plan says?`,
  retry: () => `Start it again, on ${view.host} or where its plan says?`,
};

function offer(acts) {
  if (!view.mayAct || view.offered === acts.join()) return;
  view.offered = acts.join();
  element("run-acts").replaceChildren(...acts.map((act) => actButton(act, QUESTIONS[act], () => ask(`${place}/${act}`, {}))));
}

async function showLog() {
  const offset = view.offset === null ? "" : `&offset=${view.offset}`;
  const answer = await ask(`${place}/log?rank=${element("rank").value || 0}${offset}`);
  const log = element("log");
  element("log-file").textContent = answer.file || "nothing yet";
  const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  if (view.offset !== null && answer.offset < view.offset) log.textContent = ""; // it was begun anew
  if (answer.text) log.textContent = (log.textContent + answer.text).split("\n").slice(-MOST_LINES - 1).join("\n");
  if (answer.text && isAtEnd) log.scrollTop = log.scrollHeight;
  view.offset = answer.offset;
}

element("samples-section").before(element("log-section"));
element("rank").onchange = () => { element("log").textContent = ""; view.offset = null; showLog().catch((error) => notice(error.message)); };
keepLooking(async () => { await showNews(); await showLog(); await showActs(); }, 2);
