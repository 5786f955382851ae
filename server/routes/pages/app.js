// The live leaderboard: stream -> board -> table, and how fresh it is.

import { Board, keyOf } from "./board.js";
import { Rates } from "./rates.js";
import { drawSparkline } from "./sparkline.js";
import { CONNECTING, LIVE, LOST, Stream } from "./stream.js";
import { setUpTheme } from "./theme.js";
import { BoardView, ranksOf } from "./view.js";
import { format, nameOf, signed } from "./words.js";

const STREAM = "scores/stream?snapshot=1";
const TOP = 10;
const RENDER_MS = 250;
const FEED_LENGTH = 8;
const ANNOUNCE_MS = 10000;
const STALE_MS = 3000;
const KNOWN_SCORES_MAX = 5000;
// Everyone who watches sees the same decrease: without a spread all would ask in one moment.
const REFETCH_SPREAD_MS = 1500;
const REFETCH_PAUSE_MS = 3000;

const at = (id) => document.getElementById(id);
const board = new Board(TOP);
const view = new BoardView(at("rows"));
const rates = new Rates(60);
const feed = [];
const knownScores = new Map();

let paused = false;
let dirty = false;
let renderedAt = -Infinity;
let renderTimer = 0;
let refetchTimer = 0;
let announcedAt = -Infinity;
let announceTimer = 0;
let announcedRanks = [];
let announcedState = null;
// Kept in this page only: it is gone with the tab.
let token = "";

// --- board

async function readScores(signal) {
  const answer = await fetch(`scores?limit=${TOP}`, { cache: "no-store", signal });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const seq = Number(answer.headers.get("Scoreboard-Seq") ?? NaN);
  if (!Number.isSafeInteger(seq)) throw new Error("no seq");
  return { seq, scores: await answer.json() };
}

function onWhole(kind, { seq, scores }) {
  board.reset(seq, scores);
  knownScores.clear();
  for (const row of scores) knownScores.set(keyOf(row), row.score);
  scheduleRender();
}

function onUpdate(seq, change) {
  const { score } = change;
  const key = keyOf(change);
  if (board.seq !== null && seq <= board.seq) return;
  rates.add(Date.now());
  const before = knownScores.get(key);
  if (before === undefined && knownScores.size >= KNOWN_SCORES_MAX) knownScores.clear();
  knownScores.set(key, score);
  feed.unshift({ seq, user: nameOf(change), score, gained: before === undefined ? null : score - before });
  if (feed.length > FEED_LENGTH) feed.pop();
  board.apply(seq, change);
  if (board.uncertain) refetchSoon();
  scheduleRender();
}

function refetchSoon() {
  if (refetchTimer) return;
  refetchTimer = setTimeout(async () => {
    try {
      const { seq, scores } = await readScores();
      board.merge(seq, scores);
      scheduleRender();
    } catch {
      // Still uncertain: asked again below.
    }
    refetchTimer = setTimeout(() => {
      refetchTimer = 0;
      if (board.uncertain) refetchSoon();
    }, REFETCH_PAUSE_MS);
  }, 100 + Math.random() * REFETCH_SPREAD_MS);
}

// --- showing

function scheduleRender() {
  dirty = true;
  if (renderTimer || paused) return;
  const wait = Math.max(0, renderedAt + RENDER_MS - performance.now());
  renderTimer = setTimeout(() => {
    renderTimer = 0;
    if (!paused) render();
  }, wait);
}

function render() {
  const first = renderedAt === -Infinity;
  dirty = false;
  renderedAt = performance.now();
  view.show(board.rows, !first);
  at("empty").hidden = board.rows.length > 0;
  at("empty").textContent = board.seq === null ? "Waiting for the board…" : "No scores yet.";
  at("seq").textContent = board.seq === null ? "" : `change no. ${format(board.seq)}`;
  showFeed();
  announceSoon();
}

function showFeed() {
  const list = at("feed");
  at("feed-empty").hidden = feed.length > 0;
  const known = new Map([...list.children].map((item) => [item.dataset.seq, item]));
  list.replaceChildren(...feed.map((change) => known.get(String(change.seq)) ?? feedItem(change)));
}

function feedItem({ seq, user, score, gained }) {
  const item = document.createElement("li");
  item.dataset.seq = seq;
  const name = document.createElement("span");
  name.className = "name";
  name.dir = "auto";
  name.textContent = user;
  const delta = document.createElement("span");
  delta.className = "delta";
  if (gained !== null) {
    delta.textContent = signed(gained);
    delta.dataset.way = gained < 0 ? "down" : "up";
  }
  const total = document.createElement("span");
  total.className = "total";
  total.textContent = format(score);
  item.append(name, delta, total);
  return item;
}

function showRate() {
  const now = Date.now();
  const mean = rates.mean(now, 5);
  at("rate").textContent = mean >= 10 || mean === 0 ? format(Math.round(mean)) : mean.toFixed(1);
  drawSparkline(at("sparkline"), rates.series(now).slice(0, -1));
}

// --- freshness

function ago(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min ago` : `${Math.round(minutes / 60)} h ago`;
}

function showState() {
  const { state } = stream;
  const locked = !at("token-form").hidden;
  const words = { [CONNECTING]: "Connecting", [LIVE]: "Live", [LOST]: locked ? "Locked" : "Reconnecting" };
  const pill = at("pill");
  pill.dataset.state = paused && state === LIVE ? "paused" : state;
  at("pill-text").textContent = paused && state === LIVE ? "Paused" : words[state];
  const staleFor = stream.freshAt === null ? 0 : Date.now() - stream.freshAt;
  const stale = state === LOST && (stream.freshAt === null || staleFor > STALE_MS);
  document.body.classList.toggle("stale", stale);
  if (locked && board.seq === null) setText(at("empty"), "This board is shown with a token.");
  // A board that asks for a token is not out of reach.
  const lost = stale && !locked;
  at("banner").hidden = !lost;
  if (lost) {
    const age = stream.freshAt === null ? "" : ` These scores are from ${ago(staleFor)}.`;
    const wait = stream.retryAt === null ? 0 : Math.round((stream.retryAt - Date.now()) / 1000);
    const next = wait > 0 ? ` Retrying in ${wait} s.` : " Retrying…";
    setText(at("banner-text"), `Connection lost.${age}${next}`);
  }
  if (lost && announcedState !== LOST) announce("Connection lost. The scores may be out of date.", LOST);
  if (state === LIVE && announcedState === LOST) announce("Connected again.", LIVE);
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// --- boards that want a token

async function streamAddress() {
  if (!token) return STREAM;
  // EventSource cannot send a header, and a token does not belong in an address: a ticket
  // is good for one connection.
  const answer = await fetch("scores/stream/ticket", {
    method: "POST",
    headers: { Authorization: `Bearer ${token}` },
  });
  if (answer.status === 401) askForToken();
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return `${STREAM}&ticket=${encodeURIComponent((await answer.json()).ticket)}`;
}

/** EventSource does not tell why it was refused. */
async function onRefused() {
  if (token) return;
  const stop = new AbortController();
  try {
    const answer = await fetch(STREAM, { signal: stop.signal, cache: "no-store" });
    if (answer.status === 401) askForToken();
  } catch {
    return;
  } finally {
    stop.abort();
  }
}

function askForToken() {
  const shown = !at("token-form").hidden;
  if (token) setText(at("token-said"), "The server did not accept this token: it is wrong or has expired.");
  token = "";
  stream.stop();
  at("token-form").hidden = false;
  if (!shown) at("token").focus();
  showState();
}

// --- announcements

function announce(text, state = announcedState) {
  announcedState = state;
  announcedAt = performance.now();
  at("announcer").textContent = text;
}

function announceSoon() {
  if (announceTimer) return;
  const wait = Math.max(0, announcedAt + ANNOUNCE_MS - performance.now());
  announceTimer = setTimeout(() => {
    announceTimer = 0;
    if (!paused) announceRanks();
  }, wait);
}

function announceRanks() {
  const ranks = board.rows.map(keyOf);
  const before = announcedRanks;
  announcedRanks = ranks;
  if (!ranks.length || ranks.every((key, index) => key === before[index])) return;
  const leader = board.rows[0];
  const places = ranksOf(board.rows);
  const parts = [`${nameOf(leader)} leads with ${format(leader.score)}`];
  const climbed = ranks
    .map((key, index) => ({ user: nameOf(board.rows[index]), index, was: before.indexOf(key) }))
    .filter(({ index, was }) => index > 0 && before.length && (was < 0 || was > index));
  for (const { user, index } of climbed.slice(0, 3)) parts.push(`${user} is up to rank ${places[index]}`);
  announce(`${parts.join(". ")}.`);
}

// --- wiring

const stream = new Stream(
  streamAddress,
  { state: () => showState(), update: onUpdate, whole: onWhole, refused: onRefused },
  () => board.seq,
  async (signal) => (await readScores(signal)).seq,
);

at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", String(paused));
  const label = paused ? "Resume" : "Pause";
  at("pause").setAttribute("aria-label", label);
  at("pause").querySelector(".label").textContent = label;
  document.body.classList.toggle("paused", paused);
  if (!paused && dirty) render();
  showState();
});
at("retry").addEventListener("click", () => stream.connect());
at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("token").value.trim();
  at("token").value = "";
  at("token-form").hidden = true;
  setText(at("empty"), "Waiting for the board…");
  stream.connect();
});
addEventListener("online", () => {
  if (stream.state === LOST) stream.connect();
});
setUpTheme(at("theme"));
setInterval(() => {
  showState();
  if (!paused) showRate();
}, 1000);
showRate();
stream.connect();
