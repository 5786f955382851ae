// A client of the scoreboard's HTTP contract, for browsers and Node 18 or newer. No dependency.
//
//   const client = new ScoreboardClient("http://localhost:3000", { token });
//   await client.submit({ userId: 1, increment: 10 });
//   for await (const event of client.follow({ snapshot: true })) console.log(event);
//
// Every submission carries an Idempotency-Key, so repeating one is always safe.

import { BadAnswer, EffectUnknown, type Problem, Refused, Unreachable } from "./errors.js";
import { EventReader, type RawEvent } from "./event-stream.js";

export * from "./errors.js";
export { EventReader, type RawEvent } from "./event-stream.js";

/** A line of the board. */
export interface Standing {
  readonly user: string;
  readonly score: number;
  readonly userId?: number;
}

/** Lines of the board, best first; `seq` is the last change they contain, null if not told. */
export interface Top {
  readonly seq: number | null;
  readonly scores: readonly Standing[];
}

/** A submission that the server holds durably. */
export interface Accepted {
  readonly submissionId: string;
  readonly idempotencyKey: string;
  /** How many times it was sent. */
  readonly attempts: number;
}

/** What became of a submission. */
export interface Outcome {
  readonly submissionId: string;
  readonly status: "pending" | "applied" | "held" | "rejected";
  readonly score?: number;
  readonly seq?: number;
  readonly reason?: string;
}

/** One change: the user's total after change `seq`. */
export interface Update extends Standing {
  readonly type: "update";
  readonly seq: number;
  /** There, and true, when the user has left the board. */
  readonly removed?: true;
}

/** The top of the board at exactly `seq`. A reset means: changes are missing, go on from here. */
export interface Whole {
  readonly type: "snapshot" | "reset";
  readonly seq: number;
  readonly scores: readonly Standing[];
}

export type StreamEvent = Update | Whole;

export interface ClientOptions {
  /** A bearer token, or a function that returns a current one; asked before every attempt. */
  readonly token?: string | (() => string | Promise<string>);
  /** Open streams with a single-use ticket instead of the Authorization field. */
  readonly tickets?: boolean;
  /** Longest time of one attempt in ms; default 10 s. */
  readonly attemptTimeoutMs?: number;
  /** Silence after which a stream counts as dead, in ms; default 40 s, over two heartbeats. */
  readonly idleTimeoutMs?: number;
  /** Most attempts of one call; default 8. */
  readonly attempts?: number;
  /** Longest time of one call, waits included, in ms; default 30 s. */
  readonly deadlineMs?: number;
  /** Instead of the global one, for tests or special transports. */
  readonly fetch?: typeof fetch;
}

export interface FollowOptions {
  /** Go on after this change instead of beginning now. */
  readonly lastEventId?: number;
  /** Begin with the top of the board. */
  readonly snapshot?: boolean;
  /** Ends the stream. */
  readonly signal?: AbortSignal;
}

const RETRIED = new Set([429, 500, 502, 503, 504]);
const FIRST_WAIT_MS = 100;
const MAX_WAIT_MS = 5000;
const STREAM_FAILURES_MAX = 30;
const STREAM_BREACHES_MAX = 3;
const RETRY_MAX_MS = 30_000;

/**
 * One server, as seen by one user of it. Whatever it has seen, on a stream, in an outcome or on the
 * board, `top` never goes back behind it. For a new database make a new client.
 */
export class ScoreboardClient {
  private readonly base: string;
  private readonly options: ClientOptions;
  private readonly fetch: typeof fetch;
  /** The last change that any answer or event contained; `top` never goes back behind it. */
  private seen = 0;

  /** Throws TypeError for a malformed URL. */
  constructor(baseUrl: string | URL, options: ClientOptions = {}) {
    const url = new URL(baseUrl);
    if (!/^https?:$/.test(url.protocol) || url.search || url.hash || url.username) {
      throw new TypeError("the server's URL must look like https://host:port");
    }
    this.base = url.href.replace(/\/+$/, "");
    this.options = options;
    // Called without `this`: a browser's own fetch must be called on the window.
    const given = options.fetch;
    this.fetch = given ?? ((...call) => globalThis.fetch(...call));
  }

  /**
   * Add points, exactly once however many attempts it takes. The key defaults to a random one.
   * Throws Refused or Unreachable (nothing changed) or EffectUnknown (repeat with its key).
   */
  async submit(
    submission: { userId: number; increment: number; idempotencyKey?: string },
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<Accepted> {
    const { userId, increment } = submission;
    const idempotencyKey = submission.idempotencyKey ?? randomKey();
    if (!/^[\x21-\x7e]{1,128}$/.test(idempotencyKey)) {
      throw new TypeError("an idempotency key has 1 to 128 visible ASCII characters");
    }
    // Once an attempt may have taken effect, no later refusal can prove that nothing happened.
    let maybeDone = false;
    try {
      const { answer, attempts } = await this.repeat("/scores/update", signal, () => ({
        method: "POST",
        headers: { "Content-Type": "application/json", "Idempotency-Key": idempotencyKey },
        body: JSON.stringify({ userId, increment }),
      }), (status) => {
        maybeDone ||= status === null || status < 400 || status >= 500;
      });
      const body = await json(answer).catch(() => null);
      if (answer.status !== 202 || !isRecord(body) || typeof body["submissionId"] !== "string") {
        throw new EffectUnknown(idempotencyKey, `the answer ${answer.status} is malformed`);
      }
      return { submissionId: body["submissionId"], idempotencyKey, attempts };
    } catch (error) {
      if (maybeDone && (error instanceof Refused || error instanceof Unreachable)) {
        throw new EffectUnknown(idempotencyKey, error.message);
      }
      throw error;
    }
  }

  /** The board from place `offset` + 1 on. Throws Refused, Unreachable or BadAnswer. */
  async top(
    { limit = 10, offset = 0, signal }: { limit?: number; offset?: number; signal?: AbortSignal } = {},
  ): Promise<Top> {
    const { answer } = await this.repeat(`/scores?limit=${limit}&offset=${offset}`, signal, () => ({
      headers: this.seen ? { "Scoreboard-Seq": String(this.seen) } : {},
    }));
    const scores = await json(answer);
    if (!Array.isArray(scores) || !scores.every(isStanding)) throw new BadAnswer("the board is malformed");
    const seq = seqOf(answer.headers.get("Scoreboard-Seq"));
    this.note(seq);
    return { seq, scores };
  }

  /** What became of an accepted submission. Throws Refused, Unreachable or BadAnswer. */
  async outcome(submissionId: string, { signal }: { signal?: AbortSignal } = {}): Promise<Outcome> {
    const path = `/scores/updates/${encodeURIComponent(submissionId)}`;
    const { answer } = await this.repeat(path, signal);
    const body = await json(answer);
    if (!isRecord(body) || typeof body["status"] !== "string") throw new BadAnswer("the outcome is malformed");
    const outcome = body as unknown as Outcome;
    this.note(outcome.seq);
    return outcome;
  }

  private note(seq: number | null | undefined): void {
    this.seen = Math.max(this.seen, seq ?? 0);
  }

  /** A single-use ticket that opens one stream where no header can be sent. */
  async ticket({ signal }: { signal?: AbortSignal } = {}): Promise<string> {
    const { answer } = await this.repeat("/scores/stream/ticket", signal, () => ({ method: "POST" }));
    const body = await json(answer);
    if (!isRecord(body) || typeof body["ticket"] !== "string") throw new BadAnswer("the ticket is malformed");
    return body["ticket"];
  }

  /**
   * Every change of the board in order, across reconnects: without gap and without repeat; where
   * history is gone, a reset carries the state to go on from. Ends when `signal` aborts, the loop
   * is left, or the server says that there is nothing to come back for (204).
   *
   * Throws Refused for an answer that waiting does not mend, Unreachable after thirty failures in
   * a row, BadAnswer when the stream keeps breaking its contract.
   */
  async *follow(
    { lastEventId, snapshot = false, signal }: FollowOptions = {},
  ): AsyncGenerator<StreamEvent, void, undefined> {
    let cursor: number | null = lastEventId ?? null;
    let failures = 0;
    let breaches = 0;
    while (!signal?.aborted) {
      let failure: Error = new Unreachable(`no answer from ${this.base}: the stream ended`);
      let waitMs = 0;
      // Ends this connection, whoever asks: the caller's signal, silence, or a left loop.
      const connection = new AbortController();
      const stop = () => connection.abort(signal?.reason);
      signal?.addEventListener("abort", stop, { once: true });
      let idle: ReturnType<typeof setTimeout> | undefined;
      const alive = (limitMs: number) => {
        clearTimeout(idle);
        idle = setTimeout(() => connection.abort(new Error("no byte in time")), limitMs);
      };
      try {
        alive(this.options.attemptTimeoutMs ?? 10_000);
        const answer = await this.open(cursor, snapshot, connection.signal);
        if (answer.status === 204) return;
        if (answer.status !== 200) throw new Refused(await problemOf(answer));
        const type = answer.headers.get("Content-Type") ?? "";
        if (!/^text\/event-stream\b/i.test(type) || !answer.body) {
          throw new BadAnswer(`the stream's type is ${type || "missing"}`);
        }
        const reader = new EventReader();
        const bytes = answer.body.getReader();
        for (;;) {
          alive(this.options.idleTimeoutMs ?? 40_000);
          const { done, value } = await bytes.read();
          if (done) break;
          failures = 0;
          for (const raw of reader.feed(value)) {
            const event = checked(raw, cursor);
            if (!event) continue;
            cursor = event.seq;
            breaches = 0;
            // A reset may be behind: what was seen before is no more.
            if (event.type === "reset") this.seen = event.seq;
            this.note(event.seq);
            // The caller may take its time: silence is counted while reading only.
            clearTimeout(idle);
            yield event;
            if (signal?.aborted) return;
          }
          // An id alone says where the stream stands, so that nothing is missed before an event.
          if (cursor === null) cursor = seqOf(reader.lastId);
          waitMs = Math.min(reader.retryMs ?? 0, RETRY_MAX_MS);
        }
      } catch (error) {
        if (signal?.aborted) return;
        failure = asError(error);
        if (failure instanceof Refused) {
          if (!RETRIED.has(failure.problem.status)) throw failure;
          waitMs = (failure.problem.retryAfterS ?? 0) * 1000;
        } else if (failure instanceof BadAnswer || failure instanceof RangeError) {
          breaches += 1;
          if (breaches >= STREAM_BREACHES_MAX) throw asBad(failure);
        } else {
          failure = new Unreachable(`no answer from ${this.base}: ${failure.message}`);
        }
      } finally {
        clearTimeout(idle);
        signal?.removeEventListener("abort", stop);
        connection.abort();
      }
      failures += 1;
      if (failures >= STREAM_FAILURES_MAX) throw failure;
      await sleep(waitMs + backoffMs(failures), signal).catch(() => undefined);
    }
  }

  private async open(cursor: number | null, snapshot: boolean, signal: AbortSignal): Promise<Response> {
    const query = new URLSearchParams();
    if (cursor !== null) query.set("lastEventId", String(cursor));
    else if (snapshot) query.set("snapshot", "1");
    const headers = new Headers({ Accept: "text/event-stream" });
    const token = await this.token();
    if (token && this.options.tickets) query.set("ticket", await this.ticket({ signal }));
    else if (token) headers.set("Authorization", `Bearer ${token}`);
    const address = `${this.base}/scores/stream${query.size ? `?${query}` : ""}`;
    return this.fetch(address, { headers, signal, cache: "no-store", redirect: "error" });
  }

  private async token(): Promise<string | undefined> {
    const { token } = this.options;
    return typeof token === "function" ? token() : token;
  }

  /** A 2xx, however many attempts it takes. `seen` is told each attempt's status, null without. */
  private async repeat(
    path: string,
    signal: AbortSignal | undefined,
    request: () => RequestInit = () => ({}),
    seen: (status: number | null) => void = () => undefined,
  ): Promise<{ answer: Response; attempts: number }> {
    const began = Date.now();
    const most = this.options.attempts ?? 8;
    for (let attempts = 1; ; attempts += 1) {
      let failure: Refused | Unreachable;
      let floorMs = 0;
      let final = false;
      signal?.throwIfAborted();
      const limit = AbortSignal.timeout(this.options.attemptTimeoutMs ?? 10_000);
      const init = request();
      const headers = new Headers(init.headers);
      const token = await this.token();
      if (token) headers.set("Authorization", `Bearer ${token}`);
      try {
        const answer = await this.fetch(this.base + path, {
          ...init,
          headers,
          signal: signal ? either(signal, limit) : limit,
          // A redirected POST would become a GET, and a token would travel to another host.
          redirect: "error",
        });
        seen(answer.status);
        if (answer.ok) return { answer, attempts };
        const refused = new Refused(await problemOf(answer));
        failure = refused;
        floorMs = (refused.problem.retryAfterS ?? 0) * 1000;
        final = !RETRIED.has(answer.status);
      } catch (error) {
        if (signal?.aborted) {
          seen(null);
          throw error;
        }
        // Whether it was sent nobody can tell here.
        seen(null);
        failure = new Unreachable(`no answer from ${this.base}: ${reasonOf(error)}`);
      }
      const waitMs = floorMs + backoffMs(attempts);
      const late = Date.now() - began + waitMs >= (this.options.deadlineMs ?? 30_000);
      if (final || attempts >= most || late) throw failure;
      await sleep(waitMs, signal);
    }
  }
}

/** The event, checked against the stream so far; null for a type this client does not know. */
function checked(raw: RawEvent, cursor: number | null): StreamEvent | null {
  if (raw.type !== "update" && raw.type !== "snapshot" && raw.type !== "reset") return null;
  const seq = seqOf(raw.id);
  if (seq === null) throw new BadAnswer(`an ${raw.type} without a number: ${raw.id}`);
  let data: unknown;
  try {
    data = JSON.parse(raw.data);
  } catch {
    throw new BadAnswer(`event ${seq} is no JSON`);
  }
  if (raw.type === "update") {
    if (!isStanding(data)) throw new BadAnswer(`event ${seq} has no user and score`);
    if (cursor !== null && seq !== cursor + 1) {
      throw new BadAnswer(`event ${seq} follows ${cursor}, without a reset`);
    }
    return { type: "update", seq, ...data };
  }
  if (!isRecord(data) || data["seq"] !== seq) throw new BadAnswer(`a ${raw.type} of another number`);
  const scores = data["scores"];
  if (!Array.isArray(scores) || !scores.every(isStanding)) throw new BadAnswer(`a ${raw.type} without scores`);
  return { type: raw.type, seq, scores };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isStanding(value: unknown): value is Standing {
  return isRecord(value) && typeof value["user"] === "string" && Number.isSafeInteger(value["score"]);
}

function seqOf(value: string | null): number | null {
  if (value === null || !/^\d{1,16}$/.test(value)) return null;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : null;
}

async function json(answer: Response): Promise<unknown> {
  try {
    return await answer.json();
  } catch {
    throw new BadAnswer(`the answer ${answer.status} is no JSON`);
  }
}

async function problemOf(answer: Response): Promise<Problem> {
  // A proxy in between answers in its own words.
  const body: unknown = await answer.json().catch(() => null);
  const said = isRecord(body) ? body : {};
  const text = (name: string, otherwise: string) =>
    typeof said[name] === "string" ? (said[name] as string) : otherwise;
  return {
    status: answer.status,
    code: text("code", "unknown"),
    title: text("title", "the server gave no reason"),
    detail: text("detail", ""),
    retryAfterS: retryAfterS(answer.headers.get("Retry-After")),
  };
}

function retryAfterS(value: string | null): number | null {
  if (value === null) return null;
  if (/^\s*\d+\s*$/.test(value)) return Number(value.trim().slice(0, 9));
  const at = Date.parse(value);
  return Number.isNaN(at) ? null : Math.max(0, (at - Date.now()) / 1000);
}

/** Full jitter: clients that failed together do not return together. */
function backoffMs(failures: number): number {
  return Math.random() * Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(failures - 1, 16));
}

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(asError(signal?.reason));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Aborts with the first of two. `AbortSignal.any` is younger than the browsers we serve. */
function either(one: AbortSignal, other: AbortSignal): AbortSignal {
  const joined = new AbortController();
  for (const signal of [one, other]) {
    if (signal.aborted) joined.abort(signal.reason);
    else signal.addEventListener("abort", () => joined.abort(signal.reason), { once: true, signal: joined.signal });
  }
  return joined.signal;
}

/** A random key; `crypto.randomUUID` is missing on pages without TLS. */
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function reasonOf(error: unknown): string {
  const found = asError(error);
  if (found.name === "TimeoutError") return "no answer in time";
  return found.cause instanceof Error ? found.cause.message || found.message : found.message;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function asBad(error: Error): BadAnswer {
  return error instanceof BadAnswer ? error : new BadAnswer(error.message);
}
