// The operator's view of one API process: polls /admin/stats, turns counters into rates.

import { showCases } from "./cases.js";
import { quantile } from "./quantile.js";
import { drawSparkline } from "./sparkline.js";
import { setUpTheme } from "./theme.js";

const POLL_MS = 1000;
const TIMEOUT_MS = 4000;
const WINDOW = 60;
const TOKEN_KEY = "scoreboard-operator-token";
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const at = (id) => document.getElementById(id);

const OUTCOMES = {
  accepted: "accepted",
  replayed: "repeated, same answer",
  rate_limited: "rate limited",
  key_reused: "key used with another body",
  unknown_user: "for a user who does not exist",
  overloaded: "queue full",
  unavailable: "backend unavailable",
};
const REFUSALS = {
  401: "The server did not accept this token: it is wrong or has expired.",
  403: "This token lacks the scope.",
};
const TIMES = {
  batchSize: ["Submissions in a batch", (value) => whole.format(value)],
  admissionSeconds: ["Admission", milliseconds],
  startSeconds: ["Hand-over to Temporal", milliseconds],
  commitToWriteSeconds: ["Commit to write", milliseconds],
};

// Samples of one process, oldest first; another process or a restart begins anew.
let samples = [];
let token = readToken();
let failures = 0;

function readToken() {
  try {
    // Until the tab closes: a token for operators should not outlive the visit.
    return sessionStorage.getItem(TOKEN_KEY) ?? "";
  } catch {
    return "";
  }
}

function milliseconds(seconds) {
  const value = seconds * 1000;
  return `${value < 10 ? value.toFixed(1) : whole.format(value)} ms`;
}

// --- figures from samples

function rate(read, from = samples[0]) {
  const last = samples[samples.length - 1];
  const seconds = last.at - from.at;
  return seconds > 0 ? (read(last.stats) - read(from.stats)) / seconds : 0;
}

function series(read) {
  const values = [];
  for (let i = 1; i < samples.length; i += 1) {
    const seconds = samples[i].at - samples[i - 1].at;
    values.push(seconds > 0 ? Math.max(0, read(samples[i].stats) - read(samples[i - 1].stats)) / seconds : 0);
  }
  return padded(values);
}

function padded(values) {
  return [...new Array(Math.max(0, WINDOW - values.length)).fill(0), ...values];
}

// --- showing

function show() {
  const { stats } = samples[samples.length - 1];
  const { counters, gauges } = stats;
  const previous = samples[Math.max(0, samples.length - 6)];
  at("accepted").textContent = number.format(rate((s) => s.counters.submissions.accepted, previous));
  drawSparkline(at("accepted-line"), series((s) => s.counters.submissions.accepted));
  at("accepted-more").textContent =
    `${number.format(rate((s) => s.counters.batchesStarted, previous))} batches per second`;

  at("deliveries").textContent = whole.format(rate((s) => s.counters.deliveries, previous));
  drawSparkline(at("deliveries-line"), series((s) => s.counters.deliveries));
  at("deliveries-more").textContent =
    `${number.format(rate((s) => s.counters.streamBytes, previous) / 1e6)} MB/s in ${number.format(rate((s) => s.counters.ticks, previous))} ticks/s`;

  const lag = (s) => (s.gauges.boardSeq === null ? 0 : Math.max(0, s.gauges.boardSeq - s.gauges.hubSeq));
  at("lag").textContent = gauges.boardSeq === null ? "unknown" : whole.format(lag(stats));
  drawSparkline(at("lag-line"), padded(samples.slice(1).map((sample) => lag(sample.stats))));
  at("lag-more").textContent = `changes (listeners at ${whole.format(gauges.hubSeq)})`;

  meter("queue", gauges.queue, gauges.queueMax, "places");
  meter("unfinished", gauges.batchesUnfinished, gauges.batchesUnfinishedMax, "batches");
  meter("listeners", gauges.listeners, gauges.listenersMax, "streams");
  at("listeners-more").textContent +=
    ` · ${whole.format(gauges.listenersLagging)} lagging · ${whole.format(counters.resets)} resets`;

  fill("outcomes", Object.entries(OUTCOMES), ([name, label]) => [
    label,
    number.format(rate((s) => s.counters.submissions[name])),
    whole.format(counters.submissions[name]),
  ]);
  fill("times", Object.entries(TIMES), ([name, [label, format]]) => {
    const first = samples[0].stats.histograms[name];
    const last = stats.histograms[name];
    const counts = last.counts.map((count, i) => count - first.counts[i]);
    return [label, ...[0.5, 0.99].map((share) => {
      const value = quantile(last.bounds, counts, share);
      return value === null ? "–" : format(value);
    })];
  });
  at("services").replaceChildren(...Object.entries(stats.services).map(([name, answers]) => {
    const pill = document.createElement("span");
    pill.className = "pill";
    pill.dataset.state = answers ? "live" : "lost";
    pill.textContent = answers ? name : `${name} unavailable`;
    return pill;
  }));
  at("instance").textContent =
    `API process ${stats.instance}, up for ${duration(stats.uptimeS)}. Each API process has its own metrics; Grafana shows all of them.`;
}

function meter(name, value, maximum, unit) {
  at(name).textContent = whole.format(value);
  const bar = at(`${name}-meter`);
  Object.assign(bar, { max: maximum, low: maximum * 0.6, high: maximum * 0.9, optimum: 0, value });
  at(`${name}-more`).textContent = `of ${whole.format(maximum)} ${unit}`;
}

function fill(id, entries, cells) {
  const body = at(id);
  entries.forEach((entry, index) => {
    const row = body.rows[index] ?? newRow(body);
    cells(entry).forEach((text, column) => {
      if (row.cells[column].textContent !== text) row.cells[column].textContent = text;
    });
  });
}

function newRow(body) {
  const row = body.insertRow();
  const head = document.createElement("th");
  head.scope = "row";
  row.append(head);
  for (let i = 0; i < 2; i += 1) row.insertCell().className = "end";
  return row;
}

function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${number.format(seconds / 3600)} h`;
}

function state(name, text, banner = "") {
  at("pill").dataset.state = name;
  at("pill-text").textContent = text;
  document.body.classList.toggle("stale", banner !== "");
  at("banner").hidden = banner === "";
  if (at("banner-text").textContent !== banner) at("banner-text").textContent = banner;
}

// --- polling

function ask(scope, said = "") {
  if (at("token-said").textContent !== said) at("token-said").textContent = said;
  at("scope").textContent = scope;
  at("token-form").hidden = false;
}

async function poll() {
  const answer = await fetch("admin/stats", {
    cache: "no-store",
    signal: AbortSignal.timeout(TIMEOUT_MS),
    headers: token ? { Authorization: `Bearer ${token}` } : {},
  });
  const refused = answer.status === 401 || answer.status === 403;
  if (refused) {
    ask("scores:operate", token ? REFUSALS[answer.status] : "");
    state("lost", "Locked");
    at("waiting").hidden = true;
    at("figures").hidden = true;
    return;
  }
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const stats = await answer.json();
  if (samples.length && samples[0].stats.instance !== stats.instance) samples = [];
  samples.push({ at: performance.now() / 1000, stats });
  if (samples.length > WINDOW + 1) samples.shift();
  failures = 0;
  at("figures").hidden = false;
  at("waiting").hidden = true;
  at("token-said").textContent = "";
  state("live", "Live");
  show();
}

async function pollForever() {
  for (let turn = 0; ; turn += 1) {
    if (!document.hidden) {
      try {
        await poll();
      } catch {
        failures += 1;
        if (failures > 1) state("lost", "Reconnecting", "The server does not answer; these values are out of date.");
      }
    }
    if (turn % 3 === 0 && !at("figures").hidden) await showCases(token);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("token").value.trim();
  at("token").value = "";
  at("token-form").hidden = true;
  try {
    sessionStorage.setItem(TOKEN_KEY, token);
  } catch {
    return;
  }
});
at("unlock").addEventListener("click", () => {
  ask("scores:review");
  at("token").focus();
});
setUpTheme(at("theme"));
pollForever();
