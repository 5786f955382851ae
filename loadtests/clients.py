"""A closed-loop scenario: each user submits through the Python client, then polls the outcome.

    locust -f loadtests/clients.py --users 10 --players 2

`client submit` is the time a caller of `ScoreboardClient.submit` waits, retries
included; `client submit to applied` runs from the same moment until the
submission is on the board. A closed loop at a human pace shows how long an
application waits, not how much load the server sustains; `loadtests/steady.py`
measures that. The two never run together: the verdict could not explain the
changes that these users make.

It uses the options `--host`, `--players` (ids 1..N, which must exist) and
`--signing-key`; each Locust worker reads the key's file itself.
"""

import asyncio
import os
import random
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import gevent
from locust import User, constant_throughput, task
from locust.env import Environment
from locust.exception import StopUser

from harness import locusts  # noqa: F401  # for the options of a run
from harness.settings import read_signing_key, settings_from, signing_key
from harness.target import TargetError, find_target
from scoreboard.tokens import mint
from scoreboard_client import Outcome, ScoreboardClient

T = TypeVar("T")
PER_S = 1.0
POLL_S = 0.02
APPLIED_WITHIN_S = 30.0
CONNECT_TIMEOUT_S = 5.0
TOKEN_TTL_S = 300


class NotApplied(Exception):
    """The submission was accepted, and then rejected or held."""


class Loop:
    """The event loop of all users of this process, running in a greenlet.

    gevent replaced the selector that asyncio waits with, so the loop lets other
    greenlets run. A loop for each user would not do: asyncio runs one per thread.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        gevent.spawn(self._loop.run_forever)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which is given up when the calling greenlet ends."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()


class ApplicationUser(User):
    """One user of the scoreboard, with a connection pool of its own."""

    wait_time = constant_throughput(PER_S)
    runs_alone = True
    """Stays idle beside the open-loop scenario, which is what `locust -f loadtests/` asks for."""
    _loop: Loop | None = None

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._client: ScoreboardClient | None = None
        self._player = 0

    def on_start(self) -> None:
        """Choose a player, and open the client."""
        if ApplicationUser._loop is None:
            ApplicationUser._loop = Loop()
        settings = settings_from(vars(self.environment.parsed_options))
        try:
            target = find_target(
                host=self.environment.host or None,
                mysql_url="",
                environ=os.environ,
                folder=Path.cwd(),
            )
            if target is None:
                raise TargetError("no server: start one with `make up`, or name one with --host")
            key = signing_key(read_signing_key(settings.signing_key))
            target.connect(CONNECT_TIMEOUT_S).close()
        except (TargetError, ValueError, OSError) as error:
            # As a failed request, since Locust calls a run without any a success.
            self._tell("submit", time.monotonic(), error)
            raise StopUser(str(error)) from None
        self._player = player = random.randint(1, settings.players)
        self._client = ScoreboardClient(
            target.base_url,
            token=lambda: mint(
                target.secret, subject=str(player), now_s=int(time.time()), ttl_s=TOKEN_TTL_S
            ),
            signing_key=key,
        )
        self._run(self._client.__aenter__())

    def on_stop(self) -> None:
        """Close the client."""
        if self._client is not None:
            self._run(self._client.__aexit__(None, None, None))

    @task
    def submit(self) -> None:
        """One submission, from the call to the board."""
        self._run(self._submit())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        assert ApplicationUser._loop is not None
        return ApplicationUser._loop.run(work)

    async def _submit(self) -> None:
        assert self._client is not None
        began_s = time.monotonic()
        failure: Exception | None = None
        try:
            accepted = await self._client.submit(user_id=self._player, increment=1)
        except Exception as error:
            failure = error
        self._tell("submit", began_s, failure)
        if failure is not None:
            return
        try:
            async with asyncio.timeout(APPLIED_WITHIN_S):
                outcome = await self._decided(accepted.submission_id)
            if outcome.status != "applied":
                failure = NotApplied(f"{outcome.status} {outcome.reason or ''}")
        except Exception as error:
            failure = error
        self._tell("submit to applied", began_s, failure)

    async def _decided(self, submission_id: str) -> Outcome:
        assert self._client is not None
        while True:
            outcome = await self._client.outcome(submission_id)
            if outcome.status != "pending":
                return outcome
            await asyncio.sleep(POLL_S)

    def _tell(self, name: str, began_s: float, failure: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type="client",
            name=name,
            response_time=(time.monotonic() - began_s) * 1000,
            response_length=0,
            exception=failure,
            context={},
        )
