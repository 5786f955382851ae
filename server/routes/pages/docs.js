// The API reference: examples with this server's own address, links to single operations, and a
// form at each that sends its request. The text itself is in the page.

import { setUpTheme } from "./theme.js";

const SHOWN_MAX = 20000;
const HEADERS = ["content-type", "etag", "scoreboard-seq", "ratelimit", "retry-after", "location"];
const at = (id) => document.getElementById(id);
// With the path that a proxy adds in front, which the server itself may not know.
const base = new URL(".", location.href).href.replace(/\/$/, "");

for (const example of document.querySelectorAll(".example")) {
  example.textContent = example.textContent.replace(document.body.dataset.server, base);
}

function openTarget() {
  const target = location.hash && at(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}

for (const part of document.querySelectorAll("details")) {
  part.addEventListener("toggle", () => {
    // What is open can be sent to somebody as a link.
    if (part.open) history.replaceState(null, "", `#${part.id}`);
  });
}

// --- trying an operation

function requestOf(form) {
  const headers = {};
  const query = new URLSearchParams();
  let path = form.dataset.path;
  for (const field of form.querySelectorAll("input")) {
    if (field.value === "") continue;
    if (field.dataset.in === "path") path = path.replace(`{${field.name}}`, encodeURIComponent(field.value));
    if (field.dataset.in === "query") query.set(field.name, field.value);
    if (field.dataset.in === "header") headers[field.name] = field.value;
  }
  const token = at("token").value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  const body = form.querySelector("textarea")?.value;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const search = query.size ? `?${query}` : "";
  return [base + path + search, { method: form.dataset.method, headers, body, cache: "no-store" }];
}

function pretty(text, type) {
  if (!/json/.test(type)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

async function send(form, signal) {
  const output = form.querySelector("output");
  const said = document.createElement("pre");
  said.tabIndex = 0;
  said.setAttribute("aria-label", "Answer");
  output.replaceChildren(said);
  said.textContent = "Waiting for the answer…";
  const began = performance.now();
  try {
    const [url, options] = requestOf(form);
    const answer = await fetch(url, { ...options, signal });
    const type = answer.headers.get("content-type") ?? "";
    const head = [
      `${answer.status} ${answer.statusText} after ${Math.round(performance.now() - began)} ms`,
      ...HEADERS.filter((name) => answer.headers.has(name)).map((name) => `${name}: ${answer.headers.get(name)}`),
      "",
      "",
    ].join("\n");
    let text = "";
    said.textContent = head;
    // In pieces: a stream never ends.
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += value;
      said.textContent = head + text.slice(-SHOWN_MAX);
    }
    said.textContent = head + pretty(text, type).slice(0, SHOWN_MAX);
  } catch (error) {
    if (signal.aborted) said.textContent += "\n(stopped)";
    else said.textContent = `No answer: ${error.message}.`;
  }
}

for (const form of document.querySelectorAll(".try")) {
  const [button] = form.querySelectorAll("button");
  let running = null;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running) {
      running.abort();
      return;
    }
    running = new AbortController();
    button.textContent = "Stop";
    await send(form, running.signal);
    button.textContent = "Send";
    running = null;
  });
}

addEventListener("hashchange", openTarget);
setUpTheme(at("theme"));
openTarget();
