"""Listeners of a chaos run: those of a load run, some of whose listeners keep reconnecting.

Each resumes with ``Last-Event-ID`` after every loss, at once or a little later. This is only the
shell that pumps the engine in asyncio's loop and writes its records as they are made.
"""

import asyncio
import random
import time

from harness.engines.churn import Churn
from harness.engines.swarm import Swarm
from harness.engines.swarm_settings import SwarmSettings
from harness.evidence.history import HistoryWriter
from harness.evidence.history_writer import write_listeners

SILENCE_MAX_S = 20.0
"""Heartbeats come every 15 s at most; a stream silent for longer is given up."""
STAYS_S = (1.0, 10.0)
AWAY_S = (0.075, 1.5)
CONNECT_WITHIN_S = 2.0
"""Not all at once: a stampede of connects is another test."""
GZIP_EVERY = 2
SNAPSHOT_EVERY = 3


class Audience:
    """All listeners of a run. Runs in one event loop; `stop` ends the streams as the last act."""

    def __init__(
        self,
        writer: HistoryWriter,
        port: int,
        *,
        count: int,
        restless: int,
        rng: random.Random,
        sleepers: int = 0,
        sleep_s: float = 0.0,
    ) -> None:
        """The first `restless` leave and resume all the time; the last `sleepers` stay away for
        about `sleep_s` in between, longer than the server remembers."""
        self._writer = writer
        self._awake = count - sleepers
        self._error: Exception | None = None
        asleep_s = (sleep_s * 0.05, sleep_s)
        self._engine = Swarm(
            SwarmSettings(
                address=("127.0.0.1", port),
                host_header=f"127.0.0.1:{port}",
                listeners=count,
                start_unix_ns=time.time_ns(),
                connect_per_s=count / CONNECT_WITHIN_S,
                seed=rng.randrange(1 << 32),
                kernel_stamps=False,
                gzip_every=GZIP_EVERY,
                snapshot_every=SNAPSHOT_EVERY,
                reconnect_s=AWAY_S,
                silence_ns=int(SILENCE_MAX_S * 1e9),
                churn=(
                    Churn(listeners=range(restless), stays_s=STAYS_S, away_s=AWAY_S),
                    Churn(listeners=range(self._awake, count), stays_s=STAYS_S, away_s=asleep_s),
                ),
            )
        )

    def start(self) -> None:
        """Connect all of them."""
        asyncio.get_running_loop().add_reader(self._engine.fileno(), self._pump)
        self._pump()

    def newest_of(self, user: str) -> int:
        """The seq of the newest change of `user` that any listener has seen, -1 for none."""
        return self._engine.table.latest.get(user, (-1, 0))[0]

    async def until_all(self, seq: int, *, timeout_s: float) -> bool:
        """Whether all but the sleepers are told where they stand, and reach `seq`, in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while min(self._engine.deliveries.cursor[: self._awake], default=seq) < seq:
            if self._error is not None:
                raise self._error
            if loop.time() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    async def stop(self) -> None:
        """End of the run: close every stream and write the last accounts."""
        asyncio.get_running_loop().remove_reader(self._engine.fileno())
        self._engine.stop()
        self._write()
        self._engine.close()
        if self._error is not None:
            raise self._error

    def _pump(self) -> None:
        try:
            self._engine.pump()
            self._write()
        except Exception as error:
            # In a callback of the loop it would only be logged, for ever.
            self._error = error
            asyncio.get_running_loop().remove_reader(self._engine.fileno())

    def _write(self) -> None:
        write_listeners(self._writer, *self._engine.take_records())
