// What the live pages share: the token, questions to the board, acts that ask twice, and looking again while somebody looks.
"use strict";
const TOKEN_KEY = "tunefleet-token";

function keepToken(token) {
  try { localStorage.setItem(TOKEN_KEY, token); } catch { /* a browser without storage forgets it with the page */ }
  view.token = token;
}

function takeToken() { // from the address that the command printed; it is taken out of the address bar
  try { view.token = localStorage.getItem(TOKEN_KEY); } catch { view.token = null; }
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    keepToken(given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  element("token-button").onclick = () => { keepToken(element("token").value.trim()); location.reload(); };
}

async function ask(path, body = null) { // a question, or with a body an act
  const headers = { "X-Tunefleet-Token": view.token ?? "" };
  const act = { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) };
  let response;
  try {
    response = await fetch(path, body === null ? { headers } : act);
  } catch {
    throw new Error("The board does not answer: it has ended, or the connection is gone.");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  element("token-section").hidden = !(response.status === 403 && /token/.test(answer.error ?? ""));
  throw new Error(answer.error ?? `${response.status} ${response.statusText}`);
}

const nameInAddress = () => decodeURIComponent(location.pathname.split("/")[2]);
const notice = (text) => { element("notice").textContent = text; };
const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, 1000 * seconds); });

async function keepLooking(look, seconds) {
  for (;;) {
    if (!document.hidden) {
      try {
        await look();
        notice("");
      } catch (error) {
        notice(error.message);
      }
    }
    await pause(seconds);
  }
}

function ago(seconds) {
  const age = Math.max(0, Date.now() / 1000 - seconds);
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (age >= size) return `${Math.floor(age / size)} ${unit} ago`;
  }
  return `${Math.floor(age)} s ago`;
}

// Acts

function actButton(label, question, act) { // `question` may be a function: it is asked when the button is clicked
  const place = make("span", { class: "act" });
  const rest = () => place.replaceChildren(make("button", { "data-act": label, onclick: sure }, label));
  const sure = () => {
    const text = typeof question === "function" ? question() : question;
    const yes = make("button", { class: "sure", "data-sure": label, onclick: go }, "yes");
    place.replaceChildren(make("span", { class: "small" }, text), yes, make("button", { onclick: rest }, "no"));
  };
  const go = async () => {
    place.replaceChildren(make("span", { class: "soft small" }, `${label} ...`));
    element("act-notice").textContent = "";
    try {
      await act();
    } catch (error) {
      element("acts-section").hidden = false;
      element("act-notice").textContent = `${label}: ${error.message}`;
    }
    rest();
    await showActs().catch(() => {});
  };
  rest();
  return place;
}

async function showActs(target = view.target) { // of one run or sweep, or all
  const acts = (await ask("/api/acts")).rows.filter((act) => !target || act.target === target);
  element("acts-section").hidden = !acts.length && !element("act-notice").textContent;
  table(element("acts"), ["when", "command", "exit code", "output"], acts.map((act) =>
    [[moment(act.started), code(act.command), act.exit_code ?? "goes on", make("pre", {}, act.output)]]));
}

takeToken();
