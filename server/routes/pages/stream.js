// Keeps one event stream open and says how fresh it is. Not what its events mean.
//
// EventSource reconnects by itself after a lost connection, but gives up for good on
// any answer other than 200, and cannot see a connection that died without a word
// (comments, so heartbeats too, are hidden from it). This adds both.

const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 20000;
const QUIET_MS = 20000;
const PROBE_TIMEOUT_MS = 5000;

export const CONNECTING = "connecting";
export const LIVE = "live";
export const LOST = "lost";

export class Stream {
  /**
   * `address()` resolves to the URL of the next connection. `on` has: state(state),
   * update(seq, {user, score}), whole(kind, {seq, scores}), refused(url), called when a
   * server answered with something else than a stream;
   * `cursor()` is the last change the page has; `probe()` resolves to the board's
   * present seq, or rejects when the server cannot be reached.
   */
  constructor(address, on, cursor, probe, quietMs = QUIET_MS) {
    this.address = address;
    this.attempt = 0;
    this.quietMs = quietMs;
    this.on = on;
    this.cursor = cursor;
    this.probe = probe;
    this.state = null;
    this.freshAt = null;
    this.retryAt = null;
    this.failures = 0;
    this.source = null;
    this.retryTimer = 0;
    this.quietTimer = 0;
  }

  /** Connect, or drop what there is and connect anew. */
  async connect() {
    clearTimeout(this.retryTimer);
    this.retryAt = null;
    this._close();
    this._become(this.state === null ? CONNECTING : LOST);
    this.attempt += 1;
    const { attempt } = this;
    let url = null;
    try {
      url = await this.address();
    } catch {
      // Tried again below, like any connection that fails.
    }
    if (attempt !== this.attempt) return;
    if (url === null) {
      this._become(LOST);
      this._retryLater();
      return;
    }
    const source = new EventSource(url);
    this.source = source;
    const guarded = (handler) => (event) => {
      if (source !== this.source) return;
      this._alive();
      handler(event);
    };
    source.addEventListener("open", guarded(() => {}));
    source.addEventListener(
      "update",
      guarded((event) => this.on.update(Number(event.lastEventId), JSON.parse(event.data))),
    );
    for (const kind of ["snapshot", "reset"]) {
      source.addEventListener(kind, guarded((event) => this.on.whole(kind, JSON.parse(event.data))));
    }
    source.addEventListener("error", () => {
      if (source === this.source) this._lost();
    });
  }

  /** Stay away until `connect` is called: trying again would change nothing. */
  stop() {
    this.attempt += 1;
    clearTimeout(this.retryTimer);
    this.retryAt = null;
    this._close();
    this._become(LOST);
  }

  _alive() {
    this.freshAt = Date.now();
    this.failures = 0;
    this._become(LIVE);
    clearTimeout(this.quietTimer);
    this.quietTimer = setTimeout(() => this._checkQuiet(), this.quietMs);
  }

  _lost() {
    clearTimeout(this.quietTimer);
    this._become(LOST);
    // CONNECTING means that the browser is already coming back, with its last event id.
    if (this.source.readyState === EventSource.CONNECTING) return;
    this.on.refused(this.source.url);
    this._retryLater();
  }

  _retryLater() {
    this._close();
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** this.failures);
    this.failures += 1;
    // Spread out: everyone who was connected to a server that restarts comes back here.
    const wait = ceiling * (0.5 + Math.random() / 2);
    this.retryAt = Date.now() + wait;
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => this.connect(), wait);
    this.on.state(this.state);
  }

  /** Nothing came for a while: is the board quiet, or the connection dead? */
  async _checkQuiet(again = false) {
    const source = this.source;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), PROBE_TIMEOUT_MS);
    let seq = null;
    try {
      seq = await this.probe(limit.signal);
    } catch {
      // Answered below: a server that cannot be asked is lost.
    } finally {
      clearTimeout(timer);
    }
    if (source !== this.source || this.state !== LIVE) return;
    if (seq !== null && seq <= this.cursor()) {
      this._alive();
    } else if (seq !== null && !again) {
      // The page is told of a change a moment after the board has it: look twice.
      this.quietTimer = setTimeout(() => this._checkQuiet(true), this.quietMs / 10);
    } else {
      this._become(LOST);
      this._retryLater();
    }
  }

  _become(state) {
    if (state === this.state) return;
    this.state = state;
    this.on.state(state);
  }

  _close() {
    clearTimeout(this.quietTimer);
    if (this.source) this.source.close();
    this.source = null;
  }
}
