// Page of a sweep that goes on: drawn again whenever it has changed, with the acts of `tunefleet sweep`.
"use strict";
const name = nameInAddress();
const place = `/api/sweeps/${encodeURIComponent(name)}`;
Object.assign(view, { target: name, version: "" });
document.title = `${name} - tunefleet board`;

async function showSweep() {
  const answer = await ask(`${place}?version=${view.version}`);
  if (answer.version === view.version) return;
  view.version = answer.version;
  page = answer.page;
  page.footnote = "";
  if (document.documentElement.dataset.ready) return showAll();
  start();
  if (answer.may_act) offer(answer.searches, answer.host);
}

// Acts

function numberIn(field) {
  const { value } = element(field);
  return value === "" ? null : Number(value);
}

function trial() {
  const number = numberIn("act-trial");
  if (number === null) throw new Error("name a trial");
  return number;
}

function settings() { // as in a shell: what is quoted stays together
  const words = element("act-settings").value.match(/(?:[^\s"']|"[^"]*"|'[^']*')+/g) ?? [];
  return words.map((word) => word.replace(/"([^"]*)"|'([^']*)'/g, "$1$2"));
}

function limits() {
  const entries = [["trials", "act-trials"], ["gpu_hours", "act-hours"], ["in_flight", "act-flight"]];
  return Object.fromEntries(entries.map(([key, field]) => [key, numberIn(field)]).filter(([, value]) => value !== null));
}

const act = (kind, body) => async () => ask(`${place}/${kind}`, body());
const ofTrial = () => ({ trial: trial() });

function offer(searches, host) {
  element("sweep-acts").hidden = false;
  for (const part of ["act-trial", "act-settings", "act-trials"]) element(part).closest(".bar").hidden = !searches && part !== "act-trials";
  if (!searches) {
    for (const label of element("sweep-acts").querySelectorAll("label")) label.hidden = true;
    element("whole-acts").replaceChildren(
      actButton("cancel", "End all runs of this grid for good? They save first.", act("cancel", () => ({}))),
      actButton("retry", `Start again, on ${host} or where their plans say, what is not finished?`, act("retry", () => ({}))));
    return;
  }
  const which = () => `trial ${element("act-trial").value}`;
  element("trial-acts").replaceChildren(
    actButton("stop trial", () => `End ${which()}? It saves first.`, act("stop", ofTrial)),
    actButton("retry trial", () => `Start ${which()} again?`, act("retry", ofTrial)),
    actButton("resume trial", () => `Train ${which()} to its end?`, act("resume", ofTrial)));
  element("clone-acts").replaceChildren(actButton("clone", () => `Try ${which()} with ${settings().join(" ")}?`,
    act("clone", () => ({ trial: trial(), settings: settings(), warm: element("act-warm").checked }))));
  element("whole-acts").replaceChildren(
    actButton("extend", "These limits, as totals, and the values of settings above?", act("extend", () => ({ ...limits(), settings: settings() }))),
    actButton("stop the sweep", "End the sweep? What runs saves first.", act("stop", () => ({}))));
}

document.addEventListener("click", () => { // the trial that was clicked in the leaderboard or in a plot
  if (view.selected !== null && view.selected !== view.shown) element("act-trial").value = view.selected;
  view.shown = view.selected;
});
keepLooking(async () => { await showSweep(); await showActs(); }, 5);
