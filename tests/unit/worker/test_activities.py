"""The steps without any service: what they refuse, and what they remember."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from adapters.ledger_queries import Run
from scoreboard import contract
from scoreboard.contract import CarriedBatch
from scoreboard.domain import MAX_INCREMENT, Outcome, Submission
from tests.unit.scoreboard.arrange import change, submission
from worker.activities import OUTCOMES, PACE_S, Activities
from worker.database.ledger import Recorded
from worker.failpoints import Failpoints


class LedgerOfTwo:
    """Knows users 1 and 2; records by handing out the next numbers."""

    def __init__(self) -> None:
        self.looked_up: list[set[int]] = []
        self.screened: list[Any] = []
        self.seq = 0
        self.held: list[bytes] = []

    async def known_users(self, user_ids: set[int]) -> set[int]:
        self.looked_up.append(set(user_ids))
        return set(user_ids) & {1, 2}

    async def record(self, screened: list[Any]) -> Recorded:
        self.screened.append(screened)
        self.seq += 1
        return Recorded(changes=[change(self.seq)], last_seq=self.seq, held=self.held)


class BoardOfCalls:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.published: list[int] = []
        self.announced: list[str] = []

    async def announce_done(self, batch_ids: Sequence[str]) -> None:
        self.announced += batch_ids

    def remember(self, run: Run) -> None:
        self.remembered = run

    async def publish(self, last_seq: int) -> None:
        self.published.append(last_seq)


def steps() -> tuple[Activities, LedgerOfTwo, BoardOfCalls]:
    ledger, board = LedgerOfTwo(), BoardOfCalls()
    made = Activities(ledger, None, board, None, Failpoints(""))  # type: ignore[arg-type]
    return made, ledger, board


async def run(step: Any, *arguments: Any) -> Any:
    return await ActivityEnvironment().run(step, *arguments)


def test_stored_verdicts_keep_their_meaning() -> None:
    """They stand in histories as an index: a new outcome may only be added at the end."""
    assert OUTCOMES[:4] == (
        Outcome.APPLIED,
        Outcome.UNKNOWN_USER,
        Outcome.INCREMENT_OUT_OF_RANGE,
        Outcome.SCORE_OUT_OF_RANGE,
    )


async def test_validate_judges_each_submission() -> None:
    activities, _, _ = steps()
    batch = [
        submission(1, user_id=1),
        submission(2, user_id=9),
        submission(3, user_id=1, increment=MAX_INCREMENT + 1),
    ]

    verdicts = await run(activities.validate, contract.encode_batch(batch))

    assert [OUTCOMES[index] for index in verdicts] == [
        Outcome.APPLIED,
        Outcome.UNKNOWN_USER,
        Outcome.INCREMENT_OUT_OF_RANGE,
    ]


async def test_only_unknown_users_are_looked_up_again() -> None:
    activities, ledger, _ = steps()
    payload = contract.encode_batch([submission(1, user_id=1), submission(2, user_id=9)])

    await run(activities.validate, payload)
    await run(activities.validate, payload)

    assert ledger.looked_up == [{1, 9}, {9}]


async def test_record_gives_each_submission_its_verdict() -> None:
    activities, ledger, _ = steps()
    batch = [submission(1), submission(2)]

    await run(activities.record, contract.encode_batch(batch), bytes([0, 1]))

    assert ledger.screened == [[(batch[0], Outcome.APPLIED), (batch[1], Outcome.UNKNOWN_USER)]]


async def test_recorded_changes_are_remembered_for_publish() -> None:
    activities, _, board = steps()

    await run(activities.record, contract.encode_batch([submission(1)]), bytes([0]))
    await run(activities.publish, 1)

    assert board.remembered.changes == [change(1)]
    assert board.published == [1]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        contract.encode_batch([]),
        contract.encode_batch([submission(1)] * (contract.MAX_BATCH + 1)),
        contract.encode_batch([submission(1, principal="ü" * 64)]),
        contract.encode_batch([submission(principal="ab")]).replace(b"\xa2ab", b"\xa2\xff\xff"),
    ],
    ids=["empty", "no MessagePack", "no submission", "too many", "long principal", "no UTF-8"],
)
async def test_a_batch_that_nobody_can_read_is_never_retried(payload: bytes) -> None:
    activities, _, _ = steps()

    for step, arguments in ((activities.validate, ()), (activities.record, (b"\0",))):
        with pytest.raises(ApplicationError) as caught:
            await run(step, payload, *arguments)
        assert (caught.value.type, caught.value.non_retryable) == ("MalformedBatch", True)


async def test_carry_runs_the_steps_in_order_and_says_that_it_did() -> None:
    activities, ledger, board = steps()

    carried = await run(activities.carry, contract.encode_batch([submission(1)]), "b")

    assert len(ledger.screened) == 1
    assert board.published == [1]
    assert board.announced == ["b"]
    assert carried.recorded.last_seq == 1
    assert (carried.verdicts, carried.published, carried.notified) == (None, True, True)


async def test_carry_ends_at_a_failed_step_with_what_came_before() -> None:
    activities, ledger, board = steps()

    async def fails(*_: Any) -> None:
        raise OSError("no route")

    board.publish = fails  # type: ignore[method-assign,assignment]
    carried = await run(activities.carry, contract.encode_batch([submission(1)]), "b")

    assert carried.recorded.last_seq == 1
    assert (carried.published, carried.notified) == (False, False)
    assert board.announced == []

    ledger.record = fails  # type: ignore[assignment]
    carried = await run(activities.carry, contract.encode_batch([submission(2)]), "b")
    assert (carried.verdicts, carried.recorded) == ([0], None)


def together(**batches: list[Submission]) -> bytes:
    return contract.encode_batches(
        [CarriedBatch(name, contract.encode_batch(items)) for name, items in batches.items()]
    )


async def test_batches_carried_together_share_one_transaction() -> None:
    activities, ledger, board = steps()
    items = [submission(number) for number in range(1, 5)]

    ended = await run(activities.carry_together, together(a=items[:2], b=items[2:3], c=items[3:]))

    assert ended == ["a", "b", "c"]
    [screened] = ledger.screened
    assert [item for item, _ in screened] == items
    assert board.published == [1]
    assert board.announced == ["a", "b", "c"]


async def test_batches_with_a_held_submission_have_not_ended_together() -> None:
    activities, ledger, board = steps()
    held = submission(1)
    ledger.held = [held.id]

    assert await run(activities.carry_together, together(a=[held], b=[submission(2)])) == ["b"]
    assert board.announced == ["b"]


@pytest.mark.parametrize("payload", [b"no batch", contract.encode_batch([])], ids=repr)
async def test_no_batch_ends_beside_one_that_nobody_can_read(payload: bytes) -> None:
    activities, ledger, board = steps()
    good = CarriedBatch("good", contract.encode_batch([submission(1)]))

    carried = contract.encode_batches([good, CarriedBatch("bad", payload)])

    assert await run(activities.carry_together, carried) == []
    assert (ledger.screened, board.announced) == ([], [])


async def test_calls_for_a_lane_keep_their_pace() -> None:
    activities, _, _ = steps()
    loop = asyncio.get_running_loop()
    began_s = loop.time()

    await run(activities.carry_together, together(a=[submission(1)]))

    assert loop.time() - began_s >= PACE_S


async def test_carry_fails_for_good_when_nobody_can_read_the_batch() -> None:
    activities, _, _ = steps()

    with pytest.raises(ApplicationError) as raised:
        await run(activities.carry, b"no batch", "b")

    assert raised.value.non_retryable
