"""Whether the board in Redis and the ledger have one history, and the end of one that they do not
share. Decided in `integrity`; what happens to the board then: see `redis_board`."""

import structlog

from adapters.ledger_queries import BoardRow, Run
from adapters.redis import Redis
from worker import metrics
from worker.board import integrity
from worker.board.integrity import Copy, State
from worker.board.look import look
from worker.database.ledger import Ledger

log = structlog.get_logger()

REPLAY_HINT = (
    "Temporal may have what MySQL lost: scoreboard replay --since <a minute before the loss>;"
    " see docs/runbooks/mysql-restored.md"
)


async def judged(client: Redis, ledger: Ledger) -> tuple[Copy, BoardRow, State]:
    """A look at the board in Redis, the ledger's board read after it, and how the two agree."""
    copy = await look(client)
    # Read after Redis: whatever Redis had was committed by then.
    board = await ledger.board()
    at_cursor = board.tip
    if copy.seq is not None and copy.seq < board.seq:
        at_cursor = (await ledger.run_after(copy.seq, 0)).before
    return copy, board, integrity.judge(copy, board, at_cursor)


async def end_history(ledger: Ledger, copy: Copy, *, wrong: bool) -> BoardRow:
    """Begin another history if the ledger does not continue the copy's, as read under the board's
    lock, or if the copy is `wrong`; the board as it is then.

    Not when the copy's history has ended already: several workers may find the same.
    """

    goes_on = True

    def continues(board: BoardRow, found: Run) -> bool:
        nonlocal goes_on
        goes_on = integrity.continues(copy, board, found.before)
        return goes_on and not (wrong and board.incarnation == copy.incarnation)

    board, begun = await ledger.begin_history(copy.seq or 0, continues)
    if begun:
        # As after a fail-over that lost changes, or restoring a backup: the same numbers
        # mean other changes from here on. Or after somebody else wrote to Redis.
        # A loss makes lines wrong, too, and may be noticed by them first: then the copy is of one
        # piece, but of another history than the ledger.
        lost = not wrong or (not goes_on and copy.shown.startswith(f"{copy.seq}:"))
        cause = "ledger_was_set_back" if lost else "board_was_wrong"
        log.warning(
            cause,
            redis=copy.seq,
            shown=copy.shown,
            history=board.incarnation,
            seq=board.seq,
            hint=REPLAY_HINT if lost else "",
        )
        metrics.HISTORIES.labels(cause).inc()
    return board
