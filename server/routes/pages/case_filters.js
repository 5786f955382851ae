// Which held submissions are shown: of which player, of which rule, and which page.

import { nameOf } from "./words.js";

export const PAGE = 20;
const USERS_SHOWN = 20;

const at = (id) => document.getElementById(id);

// The last case of each page before this one.
let pages = [];
// How many players are on the pages before this one.
let skipped = 0;

/** The query for the cases of this page. */
export function query() {
  const asked = new URLSearchParams({ limit: PAGE });
  if (at("cases-user").value && at("cases-user").checkValidity()) asked.set("user", at("cases-user").value);
  if (at("cases-rule").value) asked.set("rule", at("cases-rule").value);
  if (pages.length > 0) asked.set("after", pages.at(-1));
  return `?${asked}`;
}

/** The query for the players of this page: one more than is shown tells whether there is a next. */
export const holdersQuery = () => `?limit=${USERS_SHOWN + 1}&offset=${skipped}`;

/** Show which pages there are, and the players with open cases as buttons that choose one. */
export function showFilters(cases, holders) {
  at("cases-first").disabled = pages.length === 0;
  at("cases-next").disabled = cases.length < PAGE;
  at("cases-next").dataset.after = cases.at(-1)?.submissionId ?? "";
  const words = holders
    .slice(0, USERS_SHOWN)
    .map((holder) => [String(holder.userId), `${nameOf(holder)}: ${holder.openCases}`]);
  // The last players of the page have no open case any more.
  if (holders.length === 0) skipped = 0;
  at("players-pages").hidden = skipped === 0 && holders.length <= USERS_SHOWN;
  at("players-first").disabled = skipped === 0;
  at("players-next").disabled = holders.length <= USERS_SHOWN;
  const buttons = [...at("cases-users").children];
  const same = buttons.length === words.length
    && words.every(([user, text], n) => buttons[n].dataset.user === user && buttons[n].textContent === text);
  if (!same) at("cases-users").replaceChildren(...words.map(([user, text]) => userButton(user, text)));
  for (const button of at("cases-users").children) {
    button.setAttribute("aria-pressed", String(button.dataset.user === at("cases-user").value));
  }
}

function userButton(user, text) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button";
  button.dir = "auto";
  button.dataset.user = user;
  button.textContent = text;
  return button;
}

/** Calls `changed` after every choice of other cases. */
export function whenChosen(changed) {
  const go = (to) => {
    pages = to;
    changed();
  };
  at("cases-form").addEventListener("submit", (event) => event.preventDefault());
  at("cases-form").addEventListener("change", () => go([]));
  at("cases-users").addEventListener("click", ({ target }) => {
    const { user } = target.dataset;
    if (!user) return;
    at("cases-user").value = at("cases-user").value === user ? "" : user;
    go([]);
  });
  const turnPlayers = (to) => {
    skipped = to;
    changed();
  };
  at("players-first").addEventListener("click", () => turnPlayers(0));
  at("players-next").addEventListener("click", () => turnPlayers(skipped + USERS_SHOWN));
  at("cases-first").addEventListener("click", () => go([]));
  at("cases-next").addEventListener("click", ({ target }) => go([...pages, target.dataset.after]));
}
