// What a call of the client can end in, other than its result.

/** A refusal as the server worded it (RFC 9457); `code` is stable, the rest is for people. */
export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  /** Seconds after which the server suggests to come back; null when it does not say. */
  readonly retryAfterS: number | null;
}

/** Anything this client throws, except for the AbortError of a caller's own signal. */
export class ScoreboardError extends Error {
  override name = "ScoreboardError";
}

/** The server refused, and nothing was changed by this call. */
export class Refused extends ScoreboardError {
  override name = "Refused";
  constructor(readonly problem: Problem) {
    const said = `${problem.status} ${problem.code}: ${problem.title}`;
    super(problem.detail ? `${said} (${problem.detail})` : said);
  }
}

/** No usable answer to a call that cannot have changed anything. */
export class Unreachable extends ScoreboardError {
  override name = "Unreachable";
}

/** A submission may or may not have been accepted; repeat it with its key to settle that. */
export class EffectUnknown extends ScoreboardError {
  override name = "EffectUnknown";
  constructor(
    readonly idempotencyKey: string,
    reason: string,
  ) {
    super(`${reason}; repeat with Idempotency-Key ${idempotencyKey} to settle it`);
  }
}

/** An answer or a stream that the contract does not allow. */
export class BadAnswer extends ScoreboardError {
  override name = "BadAnswer";
}
