"""Listeners of the chaos run: hundreds of streams, some of which keep reconnecting.

Each resumes with ``Last-Event-ID`` after every loss, at once or a little later. What they are
sent is accounted for by ``harness.evidence.transcript`` as it arrives.
"""

import asyncio
import contextlib
import random

from harness.chaos.wire import Connection, get
from harness.evidence.history import FINAL_CAUSE
from harness.evidence.transcript import Canon, Listener
from harness.net.sse_parser import Framer
from scoreboard import contract

SILENCE_MAX_S = 20.0
"""Heartbeats come every 15 s at most; a stream silent for longer is given up."""

MEMO_PAYLOADS = 128


class Payloads:
    """Blocks of bytes already read: all listeners are sent the same, so each is read once."""

    def __init__(self, canon: Canon) -> None:
        self._canon = canon
        self._memo: dict[bytes, tuple[list[Block], tuple[int, int] | None]] = {}

    def give(self, payload: bytes, listener: Listener) -> None:
        """Account for whole SSE blocks with one listener."""
        known = self._memo.get(payload)
        if known is None:
            known = self._read(payload)
            if len(self._memo) >= MEMO_PAYLOADS:
                del self._memo[next(iter(self._memo))]
            self._memo[payload] = known
        blocks, run = known
        if run is not None and listener.advance(*run):
            return
        for event, number, data in blocks:
            if not data:
                if number is not None:
                    listener.primed(number)
            elif event == b"update" and number is not None:
                listener.update(number, data)
            elif event == b"reset":
                listener.reset(number, data)
            elif event == b"snapshot":
                listener.snapshot(number, data)

    def _read(self, payload: bytes) -> tuple[list["Block"], tuple[int, int] | None]:
        blocks = [_block(text) for text in payload.split(b"\n\n") if text]
        blocks = [block for block in blocks if block[1] is not None or block[2]]
        numbers = [number for event, number, data in blocks if event == b"update" and data]
        first = numbers[0] if numbers else None
        plain = (
            first is not None
            and len(numbers) == len(blocks)
            and numbers == list(range(first, first + len(numbers)))
        )
        if plain and first is not None and self._all_agree(blocks):
            return blocks, (first, first + len(blocks) - 1)
        return blocks, None

    def _all_agree(self, blocks: list["Block"]) -> bool:
        try:
            return all(
                self._canon.agrees(number, data) for _, number, data in blocks if number is not None
            )
        except ValueError:
            # Some data is no update: told to each listener by itself, which writes it down.
            return False


Block = tuple[bytes, int | None, bytes]
"""Event name, id, data of one SSE block."""


def _block(text: bytes) -> Block:
    event, number, data = b"", None, b""
    for line in text.split(b"\n"):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data = data + b"\n" + value if data else value
        elif name == b"event":
            event = value
        elif name == b"id" and value.isdigit():
            number = int(value)
    return event, number, data


class Audience:
    """All listeners of a run. Runs in one event loop; `stop` ends the streams as the last act."""

    def __init__(
        self,
        canon: Canon,
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
        self.listeners = [Listener(f"l{number}", canon) for number in range(count)]
        self._payloads = Payloads(canon)
        self._port = port
        self._restless = restless
        self._awake = self.listeners[: count - sleepers]
        self._sleep_s = sleep_s
        self._rng = rng
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Connect all of them."""
        for number, listener in enumerate(self.listeners):
            rng = random.Random(self._rng.random())
            sleeps = number >= len(self._awake)
            keep = self._keep_listening(
                listener,
                rng,
                restless=number < self._restless or sleeps,
                away_s=self._sleep_s if sleeps else 1.5,
            )
            self._tasks.append(asyncio.create_task(keep))

    async def until_all(self, seq: int, *, timeout_s: float) -> bool:
        """Whether all but the sleepers are told where they stand, and reach `seq`, in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while any(one.cursor is None or one.cursor < seq for one in self._awake):
            if loop.time() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    async def stop(self) -> None:
        """End of the run: close every stream and write the last accounts."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _keep_listening(
        self, listener: Listener, rng: random.Random, *, restless: bool, away_s: float
    ) -> None:
        # Not all at once: a stampede of connects is another test.
        await asyncio.sleep(rng.uniform(0, 2))
        while not self._stopping:
            leave_s = rng.uniform(1, 10) if restless else None
            # The account was closed with its cause; all that is left is to come back.
            with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError):
                await self._listen(listener, leave_s)
            await asyncio.sleep(rng.uniform(0.05, 1) * away_s)

    async def _listen(self, listener: Listener, leave_s: float | None) -> None:
        resume = {} if listener.cursor is None else {"Last_Event_ID": str(listener.cursor)}
        connection = await Connection.open(self._port)
        cause = "the stream ended"
        accepted = False
        try:
            connection.send(get(contract.STREAM_PATH, Accept="text/event-stream", **resume))
            async with asyncio.timeout(SILENCE_MAX_S):
                status, headers = await connection.head()
            if status != 200:
                return
            accepted = True
            listener.opened()
            async with asyncio.timeout(leave_s):
                await self._read(connection, listener, headers)
        except TimeoutError:
            cause = "left to come back" if leave_s is not None else "silence"
        except asyncio.CancelledError:
            cause = FINAL_CAUSE
            raise
        except (OSError, EOFError) as error:
            cause = f"{type(error).__name__}: {error}"
            raise
        except ValueError as error:
            # No fault makes such bytes: the proxies only cut connections.
            cause = f"the stream cannot be read: {error}"
            listener.unreadable(str(error))
        finally:
            connection.close()
            if accepted:
                listener.closed(cause)

    async def _read(
        self, connection: Connection, listener: Listener, headers: dict[str, str]
    ) -> None:
        framer = Framer(chunked=headers.get("transfer-encoding") == "chunked")
        while True:
            async with asyncio.timeout(SILENCE_MAX_S):
                data = await connection.reader.read(256 * 1024)
            if not data:
                return
            for payload in framer.feed(data):
                self._payloads.give(payload, listener)
