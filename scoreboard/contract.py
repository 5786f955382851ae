"""What the processes must agree on: names, keys, and the bytes between them.

HTTP names serve server and harness; Temporal and Redis names serve server and
worker. Nothing here decides anything.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

from scoreboard.domain import Change, Submission

# HTTP

SCORES_PATH = "/scores"
UPDATE_PATH = "/scores/update"
STREAM_PATH = "/scores/stream"
TICKET_PATH = "/scores/stream/ticket"
OUTCOMES_PATH = "/scores/updates"
USERS_PATH = "/scores/users"
REVIEWS_PATH = "/admin/reviews"
PLAYERS_PATH = "/admin/players"
ACCEPTED_MESSAGE = "Score update request submitted"
SEQ_HEADER = "Scoreboard-Seq"
IDEMPOTENCY_HEADER = "Idempotency-Key"
LAST_EVENT_ID_HEADER = "Last-Event-ID"
TOP_DEFAULT = 10
TOP_MAX = 100
IDEMPOTENCY_KEY_MAX_CHARS = 128

_IDEMPOTENCY_KEY = re.compile(r'"(?P<quoted>[\x21\x23-\x5b\x5d-\x7e]+)"|(?P<bare>[\x21\x23-\x7e]+)')


def parse_idempotency_key(value: str) -> str | None:
    """The key in an Idempotency-Key field, or None when it is malformed.

    Accepts the structured-field string of the IETF draft (`"abc"`, without
    escapes) and the bare form that most services take: 1 to 128 visible ASCII
    characters.
    """
    match = _IDEMPOTENCY_KEY.fullmatch(value)
    if match is None:
        return None
    key = match["quoted"] or match["bare"]
    return key if len(key) <= IDEMPOTENCY_KEY_MAX_CHARS else None


# Temporal

TASK_QUEUE = "scoreboard"
BATCH_WORKFLOW = "SubmissionBatch"
STEPS_TOGETHER = "scoreboard-steps-together"
"""In the metadata of a batch's payload: its worker may run all steps in one call. A worker of an
earlier version ignores it, and a batch without it runs them one by one, as its history has it."""
TRACEPARENT = "scoreboard-traceparent"
"""In the metadata of a batch's payload: the W3C trace that it continues."""
MAX_BATCH = 1000
"""Most submissions in one workflow: about 80 KiB of payload, far below Temporal's 2 MiB."""


LANE_WORKFLOW = "SubmissionLane"
LANE_TAKE = "take"
"""The signal that hands a lane a batch: the batch, its id, whether it is the lane's last one."""
CARRY_TOGETHER = "carry_together"
"""The call for the batches that a lane carries; its marker has the ids of those that ended."""
LANE_UNFINISHED = "unfinished"
"""The query for the ids of the batches that a lane has taken and that have not ended."""


def lane_workflow_id(process: str, number: int) -> str:
    """The id of an API process's lane; after some batches it goes on with the next number."""
    return f"lane-{process}-{number}"


REVIEW_WORKFLOW = "FraudReview"
REVIEW_DECIDE_UPDATE = "decide"


def review_workflow_id(submission_id: str) -> str:
    """The id of the workflow that reviews a held submission."""
    return f"review-{submission_id}"


PLAYER_WORKFLOW = "PlayerChange"
REFRESH_WORKFLOW = "BoardRefresh"


def player_workflow_id(order_id: str) -> str:
    """The id of the workflow that carries out an operator's order about a player."""
    return f"player-{order_id}"


def batch_workflow_id(batch_id: str) -> str:
    """The id of the workflow that carries a batch."""
    return f"batch-{batch_id}"


class CarriedBatch(msgspec.Struct, frozen=True, array_like=True):
    """A batch on its way through a lane: `encode_batch`, and the W3C trace that it continues."""

    id: str
    payload: bytes
    traceparent: str = ""


_batch_encoder = msgspec.msgpack.Encoder()
_batch_decoder = msgspec.msgpack.Decoder(list[Submission])
_lane_decoder = msgspec.msgpack.Decoder(list[CarriedBatch])


def encode_batch(submissions: Sequence[Submission]) -> bytes:
    """The workflow's input. Bytes, since Temporal's JSON converter costs more than the work."""
    return _batch_encoder.encode(submissions)


def decode_batch(payload: bytes) -> list[Submission]:
    """The submissions of a workflow's input. Raises ValueError on anything else.

    msgspec.DecodeError is one; text that is no UTF-8 raises UnicodeDecodeError, which is another.
    """
    return _batch_decoder.decode(payload)


def encode_batches(batches: Sequence[CarriedBatch]) -> bytes:
    """Batches that are carried together."""
    return _batch_encoder.encode(batches)


def decode_batches(payload: bytes) -> list[CarriedBatch]:
    """What `encode_batches` was given. Raises ValueError on anything else."""
    return _lane_decoder.decode(payload)


# Redis. One hash tag keeps all keys in one slot, as the scripts need in a cluster. Clients put
# their deployment's own tag in its place (`adapters.redis`).

HASH_TAG = "scores"

# The board's names have the number of its layout: programs of another one, during an update,
# have a copy of their own.

META_KEY = "{scores}:2:meta"
"""Hash: `seq`, the cursor of ranking and stream; `tail`, the same, which programs of the version
before read; `tip`, the identity of the change there; `incarnation`, the history they belong to
(`boards.incarnation`: another one means that all that is known must be dropped); `epoch` counts
rebuilds. `users` and `entries` say how many the ranking has and the stream has at least, and
`foreign` that somebody else wrote here."""


MAX_POSITION = 2 * 10**15
"""No board gets there: a thousand changes a second for sixty thousand years. A number above it that
somebody has put into Redis is shown to nobody, and no history begins above it."""

_POSITION = re.compile(rb"0|[1-9][0-9]{0,15}")


def position_of(seq: bytes | None) -> int | None:
    """The position that META_KEY's `seq` tells; None for what no program of ours wrote there."""
    if seq is None or not _POSITION.fullmatch(seq):
        return None
    position = int(seq)
    return position if position <= MAX_POSITION else None


def tip_at(seq: bytes | None, tip: bytes | None) -> str | None:
    """META_KEY's `tip`, when it is that of its `seq`; None of an earlier program, which moves the
    cursor alone."""
    if seq is None or tip is None or not tip.startswith(seq + b":"):
        return None
    return tip.decode(errors="replace")


RANKING_KEY = "{scores}:2:ranking"
"""Sorted set: score is the negated total, member `ranking_member`; ascending is best first."""
MEMBERS_KEY = "{scores}:2:members"
"""Hash: user id to the member that stands in the ranking for it."""
STREAM_KEY = "{scores}:2:stream"
"""Stream of `encode_changes`, ids `<last seq>-0`."""
OUTDATED_KEYS = tuple(
    "{scores}:" + name for name in ("meta", "ranking", "members", "names", "stream")
)
"""The board of the layout before: a rebuild takes it away."""
STREAM_FIELD = b"c"
BEFORE_FIELD = b"b"
"""In a stream entry: the identity of the change before its first one."""
CLAIMS_KEY = "{scores}:2:claims"
"""Hash: an API process to the position that it has shown and no longer finds in the ledger."""
DONE_CHANNEL = "{scores}:done"
"""Pub/sub: the ids of batches that have ended, with spaces between. A hint; a lost one costs a
look-up."""
LIMIT_PREFIX = "{scores}:window:"
"""Hash for each window's length of time: user to the times of its admissions in it, eight bytes
each. Window length (µs) and number of the epoch are the rest of its name."""
SEEN_PREFIX = "{scores}:seen:"
"""String: what a client's idempotency key was first used for, by the submission's id."""
FRESH_PREFIX = "{scores}:fresh:"
"""Hash for each second: the ids that the server gave in it to the same."""
STREAM_PROCESSES_KEY = "{scores}:streams"
"""Sorted set: the API processes that hold event streams, by the end of their lease."""
STREAM_COUNTS_PREFIX = "{scores}:streams:"
"""Hash for each such process: address or user to the streams it holds there."""
TICKET_PREFIX = "{scores}:ticket:"
"""Digest of a single-use ticket to the principal that it stands for."""
TICKETS_PREFIX = "{scores}:tickets:"
"""Tickets that a subject was given lately."""
TRACES_KEY = "{scores}:traces"
"""Sorted set: W3C trace contexts by the last seq of the batch that they belong to."""
PROBE_PREFIX = "{scores}:probe:"
"""Keys on which each process tries the commands that it needs."""
MEMORY_KEY = "{scores}:memory"
"""Since when (Unix seconds) Redis remembers idempotency keys; 0 is "since the first one"."""


HISTORY_STEP = 1_000_000
"""Histories begin at multiples of this: far above what anybody can have shown unnoticed."""


def identity(seq: int, user_id: int, score: int, committed_us: int) -> str:
    """What a change is told from any other by, also from one with its number.

    Made of what a change shows, so everything that holds a change can tell it: the ledger, the
    stream, the events kept for listeners. Two commits never share a microsecond, since all of
    them wait for the board's lock.
    """
    return f"{seq}:{user_id}:{score}:{committed_us}"


def change_identity(change: Change) -> str:
    """The identity of a change."""
    return identity(change.seq, change.user_id, change.score, change.committed_us)


def start_identity(seq: int) -> str:
    """Stands for a change where a history begins: nothing has that number."""
    return f"{seq}:start"


def next_start(highest: int) -> int:
    """Where a history begins, so that its numbers are above `highest` and all near it."""
    return (highest // HISTORY_STEP + 1) * HISTORY_STEP


def ranking_member(user_id: int, seq: int, name: str) -> bytes:
    """Sixteen bytes and the name: equal scores sort by who reached theirs first, then by user id.

    The name is here because a place of its own would be one more to look up and to write.
    """
    return seq.to_bytes(8, "big") + user_id.to_bytes(8, "big") + name.encode()


def member_user_id(member: bytes) -> int:
    """The user id inside a ranking member."""
    return int.from_bytes(member[8:16], "big")


_changes_encoder = msgspec.msgpack.Encoder()
_changes_decoder = msgspec.msgpack.Decoder(list[Change])


def encode_changes(changes: Iterable[Change]) -> bytes:
    """One stream entry: changes with consecutive sequence numbers."""
    return _changes_encoder.encode(list(changes))


def decode_changes(payload: bytes) -> list[Change]:
    """The changes of one stream entry. Raises ValueError on anything else."""
    return _changes_decoder.decode(payload)
