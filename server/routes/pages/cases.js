// Submissions that wait for a person: lists them, and sends what was decided.

import { nameOf, signed } from "./words.js";

const TIMEOUT_MS = 12000;
const at = (id) => document.getElementById(id);
const time = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

const rows = new Map();

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
  let answer;
  try {
    answer = await ask("", token);
  } catch {
    return;
  }
  const refused = answer.status === 401 || answer.status === 403;
  at("unlock").hidden = !refused;
  at("cases-table").hidden = !answer.ok;
  if (!answer.ok) {
    note(refusal(answer.status));
    return;
  }
  const cases = await answer.json();
  note(cases.length === 0 ? "No submissions are held." : "");
  at("cases-table").hidden = cases.length === 0;
  const open = new Set(cases.map((held) => held.submissionId));
  for (const [id, row] of rows) {
    if (open.has(id)) continue;
    row.remove();
    rows.delete(id);
  }
  for (const held of cases) {
    // A row stays as it is, so that a click never lands on another case.
    if (rows.has(held.submissionId)) continue;
    const row = rowOf(held, token);
    rows.set(held.submissionId, row);
    at("cases").append(row);
  }
}

function rowOf(held, token) {
  const row = document.createElement("tr");
  row.setAttribute("role", "row");
  const name = document.createElement("th");
  name.scope = "row";
  name.dir = "auto";
  name.textContent = nameOf(held);
  name.setAttribute("role", "rowheader");
  row.append(name);
  const cells = [
    signed(held.increment),
    held.reasons.map((reason) => reason.replaceAll("_", " ")).join(", "),
    time.format(held.openedAtUs / 1000),
  ];
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
    button.setAttribute("aria-label", `${button.textContent} ${cells[0]} for ${name.textContent}`);
    button.addEventListener("click", () => decide(row, held, decision, token));
    last.append(button);
  }
  return row;
}

async function decide(row, held, decision, token) {
  const what = `${signed(held.increment)} points for ${nameOf(held)}`;
  // It cannot be taken back: an approved submission is on the board at once.
  if (!confirm(`${decision === "approve" ? "Approve" : "Reject"} ${what}?`)) return;
  for (const button of row.querySelectorAll("button")) button.disabled = true;
  let text;
  try {
    const answer = await ask(`/${held.submissionId}`, token, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ decision }),
    });
    const said = await answer.json();
    text = answer.ok ? `${what}: ${said.decision}.` : `${what}: ${said.detail}`;
  } catch {
    text = `${what}: no answer; the case is shown until it is decided.`;
  }
  for (const button of row.querySelectorAll("button")) button.disabled = false;
  await showCases(token);
  note(text);
}
