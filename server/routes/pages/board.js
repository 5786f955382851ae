// The top of the board, kept from single changes. Pure: no clock, no network, no page.
//
// Only the first `limit` lines are known. `floor` is the highest score that anyone
// below them can have; a line that sinks to it may have been passed by someone
// unseen, which only a fresh copy of the board (`merge`) can tell.

const RECENT_MAX = 4096;

/** What tells two users with one name apart; a server of an earlier version sends no id. */
export const keyOf = ({ user, userId }) => userId ?? user;

export class Board {
  constructor(limit) {
    this.limit = limit;
    this.seq = null;
    this.rows = [];
    this.floor = -Infinity;
    this.uncertain = false;
    this.recent = [];
    this.recentStart = 0;
  }

  /** Take over a whole state, whatever was known before. */
  reset(seq, scores) {
    this.recent = [];
    this.recentStart = 0;
    this._take(seq, scores);
  }

  /** One change. Returns whether the visible lines are different now. */
  apply(seq, { user, score, userId, removed }) {
    if (this.seq === null || seq <= this.seq) return false;
    this._remember({ seq, user, score, userId, removed });
    return this._apply(seq, { user, score, userId, removed });
  }

  /**
   * Put a separately read copy of the board (at `seq`) under the changes that came since.
   * Returns false when it is too old to be brought forward; then read it again.
   */
  merge(seq, scores) {
    const cursor = this.seq;
    if (cursor === null) return false;
    const later = [];
    if (seq < cursor) {
      for (let i = this.recentStart; i < this.recent.length; i += 1) {
        if (this.recent[i].seq > seq) later.push(this.recent[i]);
      }
      if (later.length !== cursor - seq) return false;
    }
    this._take(seq, scores);
    for (const change of later) this._apply(change.seq, change);
    return true;
  }

  _take(seq, scores) {
    const known = scores.slice(0, this.limit);
    this.seq = seq;
    // Equal scores stand in the order they were reached; here that is the order they came in.
    this.rows = known.map(({ user, score, userId }, index) => ({
      user,
      score,
      userId,
      since: index - this.limit,
    }));
    this.floor = scores.length < this.limit ? -Infinity : known[known.length - 1].score;
    this.uncertain = false;
  }

  _apply(seq, { user, score, userId, removed }) {
    this.seq = seq;
    const key = keyOf({ user, userId });
    const at = this.rows.findIndex((row) => keyOf(row) === key);
    if (removed) {
      if (at < 0) return false;
      this.rows.splice(at, 1);
      // Someone unseen may move in.
      if (this.floor > -Infinity) this.uncertain = true;
      return true;
    }
    if (at >= 0) {
      this.rows.splice(at, 1);
      // Equal to the floor counts: whoever stands there unseen was there first.
      if (score <= this.floor) this.uncertain = true;
      this._insert({ user, score, userId, since: seq });
      return true;
    }
    const full = this.rows.length >= this.limit;
    if (full && score <= this.rows[this.rows.length - 1].score) {
      this.floor = Math.max(this.floor, score);
      return false;
    }
    this._insert({ user, score, userId, since: seq });
    if (full) this.floor = Math.max(this.floor, this.rows.pop().score);
    return true;
  }

  _insert(row) {
    const before = this.rows.findIndex(
      (other) => other.score < row.score || (other.score === row.score && other.since > row.since),
    );
    this.rows.splice(before < 0 ? this.rows.length : before, 0, row);
  }

  _remember(change) {
    this.recent.push(change);
    if (this.recent.length - this.recentStart > RECENT_MAX) this.recentStart += 1;
    // Cut the unused front off now and then: shifting one by one would copy the array each time.
    if (this.recentStart > RECENT_MAX) {
      this.recent = this.recent.slice(this.recentStart);
      this.recentStart = 0;
    }
  }
}
