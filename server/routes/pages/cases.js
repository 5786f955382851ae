// Submissions that wait for a person: lists them, and sends what was decided.

import { holdersQuery, query, showFilters, whenChosen } from "./case_filters.js";
import { nameOf, signed } from "./words.js";

const TIMEOUT_MS = 12000;
const at = (id) => document.getElementById(id);
const time = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

const rows = new Map();
let reviewer = "";

function ask(path, token, options = {}) {
  return fetch(`admin/reviews${path}`, {
    cache: "no-store",
    signal: AbortSignal.timeout(TIMEOUT_MS),
    ...options,
    headers: { ...options.headers, Authorization: `Bearer ${token}` },
  });
}

function note(text) {
  if (at("cases-note").textContent !== text) at("cases-note").textContent = text;
}

function refusal(status) {
  if (status === 401) return "The server did not accept this token: it is wrong or has expired.";
  if (status === 403) return "This token cannot review: it needs the scope scores:review.";
  return "The cases cannot be read now.";
}

/** Show the open cases that this token may see. */
export async function showCases(token) {
  if (!token) return;
  reviewer = token;
  const asked = query();
  const players = holdersQuery();
  let answer;
  let holders = [];
  try {
    const [listed, grouped] = await Promise.all([ask(asked, token), ask(`/users${players}`, token)]);
    answer = listed;
    if (grouped.ok) holders = await grouped.json();
  } catch {
    return;
  }
  // Somebody has chosen others meanwhile.
  if (asked !== query() || players !== holdersQuery()) return;
  const refused = answer.status === 401 || answer.status === 403;
  at("unlock").hidden = !refused;
  for (const part of ["cases-filters", "cases-table", "cases-actions"]) at(part).hidden = !answer.ok;
  if (!answer.ok) {
    note(refusal(answer.status));
    return;
  }
  const cases = await answer.json();
  const none = holders.length === 0 && cases.length === 0;
  note(none ? "No submissions are held." : cases.length === 0 ? "No held submissions fit." : "");
  at("cases-filters").hidden = at("cases-actions").hidden = none;
  at("cases-table").hidden = cases.length === 0;
  showFilters(cases, holders);
  const open = new Set(cases.map((held) => held.submissionId));
  for (const [id, { row }] of rows) {
    if (open.has(id)) continue;
    row.remove();
    rows.delete(id);
  }
  for (const held of cases) {
    // A row stays as it is, so that a click never lands on another case.
    if (rows.has(held.submissionId)) continue;
    const row = rowOf(held);
    rows.set(held.submissionId, { row, held });
    at("cases").append(row);
  }
  showChosen();
}

const boxOf = ({ row }) => row.querySelector("input");
const chosen = () => [...rows.values()].filter((each) => boxOf(each).checked);

function showChosen() {
  const count = chosen().length;
  at("cases-all").checked = count > 0 && count === rows.size;
  at("cases-all").indeterminate = count > 0 && count < rows.size;
  for (const [id, word] of [["approve-chosen", "Approve"], ["reject-chosen", "Reject"]]) {
    at(id).disabled = count === 0;
    at(id).textContent = count === 0 ? `${word} selected` : `${word} ${count} selected`;
  }
}

function rowOf(held) {
  const row = document.createElement("tr");
  row.setAttribute("role", "row");
  const cells = [
    signed(held.increment),
    held.reasons.map((reason) => reason.replaceAll("_", " ")).join(", "),
    time.format(held.openedAtUs / 1000),
  ];
  row.append(nameCell(held, cells[0]));
  for (const text of cells) row.insertCell().textContent = text;
  row.cells[1].className = "end points";
  const last = row.insertCell();
  last.className = "decision";
  for (const cell of row.querySelectorAll("td")) cell.setAttribute("role", "cell");
  for (const decision of ["approve", "reject"]) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = `button ${decision}`;
    button.textContent = decision === "approve" ? "Approve" : "Reject";
    button.setAttribute("aria-label", `${button.textContent} ${cells[0]} for ${nameOf(held)}`);
    button.addEventListener("click", () => decide(row, held, decision));
    last.append(button);
  }
  return row;
}

function nameCell(held, points) {
  const cell = document.createElement("th");
  cell.scope = "row";
  cell.setAttribute("role", "rowheader");
  const label = document.createElement("label");
  const box = document.createElement("input");
  box.type = "checkbox";
  box.setAttribute("aria-label", `Select ${points} for ${nameOf(held)}`);
  const name = document.createElement("span");
  name.dir = "auto";
  name.textContent = nameOf(held);
  label.append(box, name);
  cell.append(label);
  return cell;
}

function send(path, body) {
  return ask(path, reviewer, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

async function decide(row, held, decision) {
  const what = `${signed(held.increment)} points for ${nameOf(held)}`;
  // It cannot be taken back: an approved submission is on the board at once.
  if (!confirm(`${decision === "approve" ? "Approve" : "Reject"} ${what}?`)) return;
  for (const button of row.querySelectorAll("button")) button.disabled = true;
  let text;
  try {
    const answer = await send(`/${held.submissionId}`, { decision });
    const said = await answer.json();
    text = answer.ok ? `${what}: ${said.decision}.` : `${what}: ${said.detail}`;
  } catch {
    text = `${what}: no answer; the case is shown until it is decided.`;
  }
  for (const button of row.querySelectorAll("button")) button.disabled = false;
  await showCases(reviewer);
  note(text);
}

async function decideChosen(decision) {
  const cases = chosen().map(({ held }) => held);
  const players = [...new Set(cases.map(nameOf))];
  const others = players.length > 3 ? ` and ${players.length - 3} others` : "";
  const whose = players.slice(0, 3).join(", ") + others;
  const count = cases.length === 1 ? "1 submission" : `${cases.length} submissions`;
  if (!confirm(`${decision === "approve" ? "Approve" : "Reject"} ${count} of ${whose}?`)) return;
  for (const id of ["approve-chosen", "reject-chosen"]) at(id).disabled = true;
  let text;
  try {
    const decisions = cases.map(({ submissionId }) => ({ submissionId, decision }));
    const answer = await send("/decisions", { decisions });
    const said = await answer.json();
    text = answer.ok ? summary(said) : said.detail;
  } catch {
    text = "No answer; cases are shown until they are decided.";
  }
  await showCases(reviewer);
  note(text);
}

/** How many came to which end: "3 approved. 1 refused: …" */
function summary(results) {
  const counts = new Map();
  for (const { decision, detail } of results) {
    const end = decision ? `${decision}.` : `refused: ${detail}`;
    counts.set(end, (counts.get(end) ?? 0) + 1);
  }
  return [...counts].map(([end, count]) => `${count} ${end}`).join(" ");
}

at("cases").addEventListener("change", showChosen);
at("cases-all").addEventListener("change", ({ target }) => {
  for (const each of rows.values()) boxOf(each).checked = target.checked;
  showChosen();
});
at("approve-chosen").addEventListener("click", () => decideChosen("approve"));
at("reject-chosen").addEventListener("click", () => decideChosen("reject"));
whenChosen(() => {
  for (const { row } of rows.values()) row.remove();
  rows.clear();
  showCases(reviewer);
});
