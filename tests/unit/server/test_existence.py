"""Questions about users who may not exist: few, joined, and bounded."""

import asyncio
from collections.abc import Collection

import pytest

from server.board import existence
from server.board.existence import Existence


class Users:
    def __init__(self) -> None:
        self.questions: list[list[int]] = []
        self.error: Exception | None = None

    async def existing(self, user_ids: Collection[int]) -> set[int]:
        self.questions.append(sorted(user_ids))
        if self.error is not None:
            raise self.error
        return {user for user in user_ids if user < 10}


async def test_all_who_ask_within_a_moment_share_one_question() -> None:
    users = Users()
    one = Existence(users.existing)

    answers = await asyncio.gather(*(one.known(user) for user in (1, 99, 1, 7, 99)))

    assert answers == [True, False, True, True, False]
    assert users.questions == [[1, 7, 99]]


async def test_a_flood_of_unknown_users_is_asked_for_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(existence, "IDS_MAX", 100)
    monkeypatch.setattr(existence, "GATHER_S", 0.001)
    users = Users()
    one = Existence(users.existing)

    answers = await asyncio.gather(*(one.known(user) for user in range(100, 450)))

    assert answers == [False] * 350
    assert [len(question) for question in users.questions] == [100, 100, 100, 50]


async def test_an_error_reaches_all_who_asked_and_the_next_ask_anew() -> None:
    users = Users()
    users.error = TimeoutError()
    one = Existence(users.existing)
    answers = await asyncio.gather(one.known(1), one.known(2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [TimeoutError, TimeoutError]

    users.error = None
    assert await one.known(1)


async def test_closing_ends_the_question_under_way() -> None:
    users = Users()
    one = Existence(users.existing)
    asking = asyncio.create_task(one.known(1))
    await asyncio.sleep(0)

    await one.close()

    with pytest.raises(asyncio.CancelledError):
        await asking
    assert users.questions == []
