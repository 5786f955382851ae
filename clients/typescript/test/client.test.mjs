// The client against an HTTP server of node's own, which answers as each test says.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { BadAnswer, EffectUnknown, Refused, ScoreboardClient, Unreachable } from "../dist/scoreboard.js";

const servers = [];
after(() => servers.forEach((server) => server.closeAllConnections() ?? server.close()));

/** A server whose nth request is answered by the nth of `answers`; the last one goes on. */
async function serving(...answers) {
  const requests = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (data) => (body += data));
    request.on("end", () => {
      requests.push({ method: request.method, url: request.url, headers: request.headers, body });
      const answer = answers[Math.min(requests.length, answers.length) - 1];
      answer(response, request);
    });
  });
  servers.push(server);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

const json = (status, body, headers = {}) => (response) => {
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(JSON.stringify(body));
};
const accepted = json(202, { message: "Score update request submitted", submissionId: "s-1" });
const gone = (response) => response.socket.destroy();
const stream = (...blocks) => (response) => {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.write("retry: 1\n" + blocks[0]);
  for (const block of blocks.slice(1)) response.write(block);
  response.end();
};
const update = (seq, score) => `id: ${seq}\nevent: update\ndata: {"user":"Alice","score":${score}}\n\n`;

async function take(events, count) {
  const found = [];
  for await (const event of events) {
    found.push(event);
    if (found.length === count) break;
  }
  return found;
}

test("a submission is sent again with its key until it is accepted", async () => {
  const { url, requests } = await serving(gone, json(503, {}, { "Retry-After": "0" }), accepted);
  const client = new ScoreboardClient(url, { token: () => "t" });
  const found = await client.submit({ userId: 1, increment: 10 });
  assert.equal(found.submissionId, "s-1");
  assert.equal(found.attempts, 3);
  assert.equal(new Set(requests.map(({ headers }) => headers["idempotency-key"])).size, 1);
  assert.deepEqual(JSON.parse(requests[2].body), { userId: 1, increment: 10 });
  assert.equal(requests[0].headers.authorization, "Bearer t");
});

test("a refusal is typed and not repeated", async () => {
  const { url, requests } = await serving(json(403, { code: "forbidden", title: "Not yours" }));
  const call = new ScoreboardClient(url).submit({ userId: 2, increment: 1 });
  await assert.rejects(call, (error) => error instanceof Refused && error.problem.code === "forbidden");
  assert.equal(requests.length, 1);
});

test("an effect that cannot be known is said to be unknown", async () => {
  const { url } = await serving(gone, json(403, { code: "forbidden" }));
  const call = new ScoreboardClient(url).submit({ userId: 1, increment: 1, idempotencyKey: "k" });
  await assert.rejects(call, (error) => error instanceof EffectUnknown && error.idempotencyKey === "k");
});

test("a read that nobody answers is unreachable", async () => {
  const { url } = await serving(gone);
  await assert.rejects(new ScoreboardClient(url, { attempts: 2 }).top(), Unreachable);
});

test("a board that is none is a bad answer", async () => {
  const { url } = await serving(json(200, [{ user: 1 }]));
  await assert.rejects(new ScoreboardClient(url).top(), BadAnswer);
});

test("a malformed key or address is refused before anything is sent", async () => {
  assert.throws(() => new ScoreboardClient("ftp://x"), TypeError);
  const client = new ScoreboardClient("http://127.0.0.1:9");
  await assert.rejects(client.submit({ userId: 1, increment: 1, idempotencyKey: "a b" }), TypeError);
});

test("a stream goes on after its last change, across connections", async () => {
  const { url, requests } = await serving(
    stream("id: 4\n\n", update(5, 10)),
    stream("id: 5\n\n", update(6, 11)),
    stream(update(7, 12)),
  );
  const found = await take(new ScoreboardClient(url).follow(), 3);
  assert.deepEqual(found.map(({ seq, score }) => [seq, score]), [[5, 10], [6, 11], [7, 12]]);
  assert.deepEqual(requests.map((request) => request.url), [
    "/scores/stream", "/scores/stream?lastEventId=5", "/scores/stream?lastEventId=6",
  ]);
});

test("a stream that ended before its first change misses none", async () => {
  const { url, requests } = await serving(stream("id: 4\n\n"), stream(update(5, 1)));
  await take(new ScoreboardClient(url).follow(), 1);
  assert.equal(requests[1].url, "/scores/stream?lastEventId=4");
});

test("a reset carries the state to go on from", async () => {
  const reset = 'id: 9\nevent: reset\ndata: {"seq":9,"scores":[{"user":"Alice","score":3}]}\n\n';
  const { url } = await serving(stream(update(5, 1), reset, update(10, 4)));
  const found = await take(new ScoreboardClient(url).follow({ lastEventId: 4 }), 3);
  assert.deepEqual(found.map(({ type, seq }) => [type, seq]), [["update", 5], ["reset", 9], ["update", 10]]);
});

test("a gap is never passed over in silence", async () => {
  const { url } = await serving(stream(update(5, 1), update(7, 2)));
  const events = new ScoreboardClient(url).follow({ lastEventId: 4 });
  await assert.rejects(async () => {
    for await (const event of events) assert.equal(event.seq, 5);
  }, BadAnswer);
});

test("a stream that is refused for good throws, 204 ends it", async () => {
  const refused = await serving(json(401, { code: "unauthorized" }));
  await assert.rejects(take(new ScoreboardClient(refused.url).follow(), 1), Refused);
  const over = await serving((response) => response.writeHead(204).end());
  assert.deepEqual(await take(new ScoreboardClient(over.url).follow(), 1), []);
});

test("a ticket opens each connection of a stream", async () => {
  const tickets = { 0: "a", 2: "b" };
  let count = 0;
  const either = (response, request) => {
    if (request.method === "POST") json(200, { ticket: tickets[count], expiresInS: 30 })(response);
    else stream(update(count === 1 ? 5 : 6, 1))(response);
    count += 1;
  };
  const { url, requests } = await serving(either);
  await take(new ScoreboardClient(url, { token: "t", tickets: true }).follow({ lastEventId: 4 }), 2);
  assert.deepEqual(requests.map((request) => request.url), [
    "/scores/stream/ticket", "/scores/stream?lastEventId=4&ticket=a",
    "/scores/stream/ticket", "/scores/stream?lastEventId=5&ticket=b",
  ]);
  assert.equal(requests[1].headers.authorization, undefined);
});

test("a silent stream is dropped and opened again", async () => {
  const silent = (response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write("retry: 1\nid: 4\n\n");
  };
  const { url } = await serving(silent, stream(update(5, 1)));
  const found = await take(new ScoreboardClient(url, { idleTimeoutMs: 100 }).follow(), 1);
  assert.equal(found[0].seq, 5);
});

test("the caller's signal ends a stream and a wait", { timeout: 5000 }, async () => {
  const { url } = await serving(gone);
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 50);
  assert.deepEqual(await take(new ScoreboardClient(url).follow({ signal: stop.signal }), 1), []);
  await assert.rejects(new ScoreboardClient(url).top({ signal: stop.signal }));
});

test("the board never goes back behind what a stream, an outcome or a read has shown", async () => {
  const { url, requests } = await serving(
    json(200, [], { "Scoreboard-Seq": "4" }),
    json(200, { submissionId: "s-1", status: "applied", seq: 6 }),
    json(200, [], { "Scoreboard-Seq": "6" }),
    stream(update(7, 1510)),
    json(200, [], { "Scoreboard-Seq": "7" }),
    stream('id: 3\nevent: reset\ndata: {"seq":3,"scores":[]}\n\n'),
    json(200, [], { "Scoreboard-Seq": "3" }),
  );
  const client = new ScoreboardClient(url);
  await client.top();
  await client.outcome("s-1");
  await client.top();
  await take(client.follow({ lastEventId: 6 }), 1);
  await client.top();
  await take(client.follow({ lastEventId: 7 }), 1);
  await client.top();
  const floors = requests.filter((r) => r.url.startsWith("/scores?")).map((r) => r.headers["scoreboard-seq"]);
  assert.deepEqual(floors, [undefined, "6", "7", "3"]);
});
