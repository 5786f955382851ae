// How many things happened in each of the last seconds. Pure: time is an argument.

export class Rates {
  constructor(seconds) {
    this.counts = new Array(seconds).fill(0);
    this.second = null;
  }

  /** Count `n` things at `nowMs`. */
  add(nowMs, n = 1) {
    this._advance(nowMs);
    this.counts[this.counts.length - 1] += n;
  }

  /** Counts per second, oldest first; the last one is still growing. */
  series(nowMs) {
    this._advance(nowMs);
    return this.counts;
  }

  /** Mean over the last `seconds` whole seconds. */
  mean(nowMs, seconds) {
    const whole = this.series(nowMs).slice(-1 - seconds, -1);
    return whole.reduce((sum, count) => sum + count, 0) / seconds;
  }

  _advance(nowMs) {
    const second = Math.floor(nowMs / 1000);
    if (this.second === null) this.second = second;
    const steps = Math.min(second - this.second, this.counts.length);
    for (let i = 0; i < steps; i += 1) {
      this.counts.shift();
      this.counts.push(0);
    }
    this.second = Math.max(second, this.second);
  }
}
