"""The same client for programs without an event loop: every call waits for its result.

    with BlockingScoreboardClient("http://localhost:3000", token=token) as client:
        accepted = client.submit(user_id=1, increment=10)
        for event in client.follow(snapshot=True):
            ...

Not a second implementation: it runs `ScoreboardClient` on a loop of its own. One thread at a time.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from scoreboard import contract
from scoreboard_client.answers import Accepted, Outcome, Top
from scoreboard_client.client import ScoreboardClient
from scoreboard_client.follow import StreamEvent


class BlockingScoreboardClient:
    """Takes what `ScoreboardClient` takes, raises what it raises. Use as a context manager.

    Not inside a running event loop: there `asyncio` refuses, and `ScoreboardClient` is the one.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._client = ScoreboardClient(*arguments, **options)
        self._runner: asyncio.Runner | None = None

    def __enter__(self) -> Self:
        self._runner = asyncio.Runner()
        self._runner.run(self._client.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            with self._runner as runner:
                runner.run(self._client.__aexit__(kind, error, trace))
            self._runner = None

    def submit(
        self, *, user_id: int, increment: int, idempotency_key: str | None = None
    ) -> Accepted:
        """Add points, exactly once; see `ScoreboardClient.submit`."""
        return self._opened().run(
            self._client.submit(
                user_id=user_id, increment=increment, idempotency_key=idempotency_key
            )
        )

    def top(self, *, limit: int = contract.TOP_DEFAULT, offset: int = 0) -> Top:
        """The board from place `offset` + 1 on."""
        return self._opened().run(self._client.top(limit=limit, offset=offset))

    def outcome(self, submission_id: str) -> Outcome:
        """What became of an accepted submission, as far as is known now."""
        return self._opened().run(self._client.outcome(submission_id))

    def follow(
        self,
        *,
        last_event_id: int | None = None,
        snapshot: bool = False,
        give_up_s: float = math.inf,
    ) -> Iterator[StreamEvent]:
        """Every change in order, across reconnects; leaving the loop ends the stream.

        While the caller does not ask for the next event, nothing is read: a caller that takes
        long is a slow listener, which the server may disconnect and the client continues.
        """
        events = self._client.follow(
            last_event_id=last_event_id, snapshot=snapshot, give_up_s=give_up_s
        )
        with self._following(events) as following:
            yield from following

    @contextmanager
    def _following(
        self, events: AsyncGenerator[StreamEvent, None]
    ) -> Iterator[Iterator[StreamEvent]]:
        runner = self._opened()

        async def following() -> StreamEvent | None:
            return await anext(events, None)

        try:
            yield iter(lambda: runner.run(following()), None)
        finally:
            runner.run(events.aclose())

    def _opened(self) -> asyncio.Runner:
        if self._runner is None:
            raise RuntimeError("use BlockingScoreboardClient as a context manager")
        return self._runner
