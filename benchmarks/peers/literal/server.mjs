// The specification word for word, in Node with its own http module. State in memory; for tests.
// README.md has the variables it reads and what it prints.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const INCREMENT_MAX = 1_000_000;
const LATE_MS = 2000;
const SINGLE = [
  "lose-accepted", "apply-twice", "wrong-user", "wrong-amount", "lost-update",
  "refused-but-applied", "never-shown", "shown-twice", "shown-for-another", "shown-wrong-score",
  "invented-event", "reordered", "torn-event", "one-listener-misses", "one-listener-twice",
];
const STANDING = [
  "silent-listener", "late-events", "stale-board", "board-wrong-score", "board-wrong-order",
  "board-leaves-out",
];

function refuse(reason) {
  console.error(reason);
  process.exit(2);
}

const env = process.env;
const secret = env.JWT_SECRET;
if (!secret) refuse("JWT_SECRET is not set");
const rateLimit = Number(env.RATE_LIMIT ?? 0);
const lies = (env.LIE ?? "").split(",").filter(Boolean);
const unknown = lies.filter((name) => !SINGLE.includes(name) && !STANDING.includes(name));
if (unknown.length) refuse(`unknown lies: ${unknown.join(", ")}`);
const single = lies.filter((name) => SINGLE.includes(name));
const lieEvery = Number(env.LIE_EVERY ?? 20);

// When to lie: the single lies take turns, one every `lieEvery` submissions.
let count = 0;
let turn = 0;
let due = 0;
const stands = (name) => lies.includes(name) && count >= lieEvery;

function nextLie(hasGained) {
  count += 1;
  if (single.length && count % lieEvery === 0) due += 1;
  if (!due) return "";
  const lie = single[turn % single.length];
  // An update is lost only after another.
  if (lie === "lost-update" && !hasGained) return "";
  due -= 1;
  turn += 1;
  return lie;
}

const users = new Map();
for (let id = 1; id <= Number(env.USERS ?? 1000); id += 1) {
  users.set(id, { name: `User${String(id).padStart(5, "0")}`, score: 0, gained: 0, held: [] });
}
users.set(1, { name: "Alice", score: 1500, gained: 0, held: [] });
users.set(2, { name: "Bob", score: 1400, gained: 0, held: [] });
const listeners = new Set();
let frozen;

const event = (user, score) => `event: update\ndata: ${JSON.stringify({ user, score })}\n\n`;

function submit(id, increment) {
  const user = users.get(id);
  const lie = nextLie(user.gained !== 0);
  if (stands("stale-board")) frozen ??= best();
  if (lie) console.error(`lie ${lie} user=${user.name} increment=${increment}`);
  // The workflow runs right after the answer.
  setImmediate(run, id, increment, lie);
  return lie !== "refused-but-applied";
}

function run(id, increment, lie) {
  const another = users.get(id > 1 ? id - 1 : 2);
  const user = lie === "wrong-user" ? another : users.get(id);
  if (lie === "lose-accepted") return;
  if (lie === "apply-twice") run(id, increment, "");
  if (lie === "lost-update") user.score -= user.gained;
  user.gained = increment + (lie === "wrong-amount" ? 1 : 0);
  user.score += user.gained;
  let told = event(user.name, user.score);
  if (lie === "never-shown") return;
  if (lie === "reordered") {
    user.held.push(told);
    return;
  }
  if (lie === "shown-for-another") told = event(another.name, user.score);
  if (lie === "shown-wrong-score") told = event(user.name, user.score + 1);
  if (lie === "torn-event") told = `${told.slice(0, told.length / 2)}\n\n`;
  tell(told, lie);
  if (lie === "shown-twice") tell(told);
  if (lie === "invented-event") tell(event(another.name, another.score + 1));
  while (user.held.length) tell(user.held.pop());
}

function tell(told, lie = "") {
  if (stands("late-events")) setTimeout(send, LATE_MS, told, lie);
  else send(told, lie);
}

function send(told, lie) {
  let first = true;
  for (const listener of listeners) {
    let times = 1;
    if (first) {
      if (lie === "one-listener-misses" || stands("silent-listener")) times = 0;
      if (lie === "one-listener-twice") times = 2;
    }
    first = false;
    for (let n = 0; n < times; n += 1) listener.write(told);
  }
}

function best() {
  const order = [...users.values()].sort((a, b) => b.score - a.score);
  return order.slice(0, 11).map(({ name, score }) => ({ user: name, score }));
}

function topTen() {
  let rows = frozen ?? best();
  rows = stands("board-leaves-out") ? rows.slice(1) : rows.slice(0, 10);
  if (stands("board-wrong-score")) rows[0] = { ...rows[0], score: rows[0].score + 1 };
  if (stands("board-wrong-order")) [rows[0], rows[rows.length - 1]] = [rows.at(-1), rows[0]];
  return rows;
}

// The claims of a valid HS256 token, else null.
function verified(token) {
  try {
    const [head, claims, signature, more] = token.split(".");
    if (more !== undefined) return null;
    const decode = (part) => JSON.parse(Buffer.from(part, "base64url").toString());
    if (decode(head).alg !== "HS256") return null;
    const expected = createHmac("sha256", secret).update(`${head}.${claims}`).digest();
    const given = Buffer.from(signature, "base64url");
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null;
    const found = decode(claims);
    return found.exp > Date.now() / 1000 ? found : null;
  } catch {
    return null;
  }
}

let second = 0;
const used = new Map();
function exceedsRate(id) {
  if (!rateLimit) return false;
  const now = Math.floor(Date.now() / 1000);
  if (now !== second) used.clear();
  second = now;
  used.set(id, (used.get(id) ?? 0) + 1);
  return used.get(id) > rateLimit;
}

// Status and content of the answer to a submission.
function update(authorization, content) {
  const claims = verified((authorization ?? "").replace(/^Bearer /, ""));
  if (!claims) return [401, { error: "invalid token" }];
  let body;
  try {
    body = JSON.parse(content);
  } catch {
    body = null;
  }
  const { userId, increment } = body ?? {};
  if (!Number.isInteger(userId) || !Number.isInteger(increment)) {
    return [400, { error: "userId and increment must be integers" }];
  }
  if (claims.sub !== String(userId)) return [403, { error: "not your score" }];
  if (increment === 0 || Math.abs(increment) > INCREMENT_MAX) {
    return [400, { error: "increment out of range" }];
  }
  if (!users.has(userId)) return [404, { error: "no such user" }];
  if (exceedsRate(userId)) return [429, { error: "too many updates" }];
  if (!submit(userId, increment)) return [422, { error: "refused" }];
  return [200, { message: "Score update request submitted" }];
}

function answer(response, status, content) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(content));
}

const server = createServer((request, response) => {
  const call = `${request.method} ${request.url.split("?")[0]}`;
  if (call === "GET /scores") answer(response, 200, topTen());
  else if (call === "POST /scores/update") {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      answer(response, ...update(request.headers.authorization, Buffer.concat(parts).toString()));
    });
  } else if (call === "GET /scores/stream") {
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
    response.flushHeaders();
    listeners.add(response);
    response.on("close", () => listeners.delete(response));
  } else answer(response, 404, { error: "not found" });
});
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => process.exit(0));
server.listen(Number(env.PORT ?? 3000), "127.0.0.1", 4096, () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});
