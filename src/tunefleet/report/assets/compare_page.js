// Compare page: scores with their intervals, and answers side by side, from `page` (page.js).
const SHOWN = 500;
const OF_QUESTIONS = ["split", "question", "reference"];

function showTables() {
  element("tables").replaceChildren(...Object.entries(page.tables).map(([title, content]) => {
    const target = make("table", {});
    table(target, content.heads, content.rows.map((row) => [row]));
    return make("section", {}, make("h2", {}, title), make("div", { class: "scroll" }, target));
  }));
}

function showAnswers() {
  const heads = Object.keys(page.answers[0] ?? {});
  const wanted = element("answers-filter").value.toLowerCase();
  const differ = (row) => new Set(heads.filter((head) => !OF_QUESTIONS.includes(head)).map((head) => row[head])).size > 1;
  const rows = page.answers.filter((row) => heads.some((head) => row[head].toLowerCase().includes(wanted)))
    .filter((row) => !element("answers-differing").checked || differ(row));
  table(element("answers"), heads, rows.slice(0, SHOWN).map((row) => [heads.map((head) => row[head])]));
  element("answers-count").textContent = `${Math.min(SHOWN, rows.length)} of ${page.answers.length}`;
}

function start() {
  element("title").textContent = page.title;
  element("made").textContent = page.footnote;
  element("answers-section").hidden = !page.answers.length;
  element("answers-filter").addEventListener("input", showAnswers);
  element("answers-differing").addEventListener("change", showAnswers);
  showTables();
  showAnswers();
  document.documentElement.dataset.ready = "yes";
}

begin(start);
