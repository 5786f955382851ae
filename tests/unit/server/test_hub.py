"""Each listener gets every change once and in order, or an explicit reset."""

import asyncio
import gzip
import re
import zlib
from collections.abc import AsyncIterator, Callable

import pytest

from scoreboard import sse
from scoreboard.backoff import Backoff
from scoreboard.domain import Change, Standing
from scoreboard.errors import UNAVAILABLE, Problem
from server.board.position import BoardPosition
from server.stream.hub import Hub
from server.stream.listener import MAX_RECEIVED_BYTES
from tests.support.eventually import eventually, settled


def changes(first: int, last: int) -> list[Change]:
    return [
        Change(seq=seq, user_id=1, name="Alice", score=seq, committed_us=1)
        for seq in range(first, last + 1)
    ]


class Wire(asyncio.Transport):
    """A transport whose peer reads when the test says so."""

    def __init__(self, *, gzip: bool) -> None:
        super().__init__()
        self.gzip = gzip
        self.protocol: asyncio.Protocol | None = None
        self.sent = b""
        self.limit: int | None = None
        self.buffered = 0
        self.closing = False
        self.paused = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def get_extra_info(self, name: str, default: object = None) -> object:
        del name
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del low
        self.limit = high

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: "bytes | bytearray | memoryview") -> None:
        if self.closing:
            raise RuntimeError("closed")
        self.sent += bytes(data)
        assert self.limit is not None
        if self.paused:
            self.buffered += len(data)
            if self.buffered > self.limit:
                assert self.protocol
                self.protocol.pause_writing()

    def stall(self) -> None:
        """The peer stops reading."""
        assert self.limit is not None
        self.paused, self.buffered = True, self.limit

    def drain(self) -> None:
        """The peer has read everything."""
        self.paused, self.buffered = False, 0
        assert self.protocol
        self.protocol.resume_writing()

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            assert self.protocol
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    @property
    def body(self) -> bytes:
        """What a client makes of it that never heard of shared blocks."""
        if not self.gzip:
            return self.coded
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(self.coded)

    @property
    def coded(self) -> bytes:
        data = self.sent.removeprefix(b"HEAD\r\n")
        body = b""
        while data:
            size, _, data = data.partition(b"\r\n")
            body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]
        return body

    @property
    def events(self) -> list[tuple[str, int]]:
        return [(event.event, int(event.id)) for event in sse.Decoder().feed(self.body)]

    @property
    def seqs(self) -> list[int]:
        return [seq for _, seq in self.events]


class FakeBoard:
    """Answers snapshots."""

    def __init__(self) -> None:
        self.seq = 0
        self.away = False
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def snapshot(self, at_least: int) -> sse.Snapshot:
        del at_least
        self.asked += 1
        seq = self.seq
        await self.gate.wait()
        await asyncio.sleep(0)
        if self.away:
            raise Problem(UNAVAILABLE, "away")
        return sse.Snapshot(seq=seq, scores=[Standing(user="Alice", score=seq)])


class Site:
    """A hub, its board and ways to listen."""

    def __init__(self, *, gzip: bool = False, **settings: float) -> None:
        self.gzip = gzip
        self.board = FakeBoard()
        self.position = BoardPosition()
        self.wires: list[Wire] = []
        self.reports: list[tuple[int, int, int]] = []
        self.on_report: Callable[[int], object] = lambda _last: None
        limits: dict[str, float] = {
            "listeners_max": 100,
            "history_changes": 20,
            "tick_max_s": 0.001,
            "heartbeat_s": 60.0,
            "lagging_max_s": 60.0,
        }
        self.hub = Hub(
            self.board.snapshot,
            position=self.position,
            on_written=self._written,
            **{**limits, **settings},  # type: ignore[arg-type]
        )

    def _written(self, first: int, last: int, began_s: float, listeners: int) -> None:
        assert began_s > 0
        self.reports.append((first, last, listeners))
        self.on_report(last)

    async def listen(
        self,
        last_event_id: int | None = None,
        *,
        snapshot: bool = False,
        gzip: bool | None = None,
    ) -> Wire:
        wire = Wire(gzip=self.gzip if gzip is None else gzip)
        opening, cursor = await self.hub.opening(last_event_id, snapshot=snapshot)
        self.hub.attach(wire, b"HEAD\r\n", opening, cursor, gzip=wire.gzip)
        self.wires.append(wire)
        return wire

    async def take(self, first: int, last: int) -> None:
        """Changes arrive, and the hub has broadcast them."""
        self.hub.take(changes(first, last))
        await eventually(lambda: self.hub.cursor == last, interval_s=0.001)

    async def leave_behind(self, wire: Wire, first: int, last: int) -> None:
        """The peer reads on only when the ring no longer reaches back to it, and is reset."""
        wire.stall()
        for seq in range(first, last + 1):
            await self.take(seq, seq)
        self.board.seq = last
        wire.drain()
        await eventually(lambda: ("reset", last) in wire.events, interval_s=0.001)


@pytest.fixture(autouse=True)
def same_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal bytes for all listeners, to compare."""
    monkeypatch.setattr("scoreboard.sse.RETRY_SPREAD_MS", 1)


@pytest.fixture(params=[False, True], ids=["plain", "gzip"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    site = Site(gzip=request.param)
    running = asyncio.create_task(site.hub.run())
    site.hub.begin(10, changes(6, 10))
    yield site
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_listeners_are_told_different_times_to_come_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scoreboard.sse.RETRY_SPREAD_MS", 2000)
    told = {(await site.listen()).body.partition(b"\n")[0] for _ in range(20)}

    assert len(told) > 10


async def test_new_listener_gets_the_changes_after_its_cursor(site: Site) -> None:
    wire = await site.listen()

    await site.take(11, 13)

    assert re.match(rb"retry: [23]\d{3}\nid: 10\n\n", wire.body)
    assert wire.seqs == [11, 12, 13]


async def test_all_listeners_get_the_same_bytes(site: Site) -> None:
    wires = [await site.listen() for _ in range(20)]

    await site.take(11, 12)
    await site.take(13, 20)

    assert {wire.sent for wire in wires} == {wires[0].sent}


async def test_each_of_a_group_gets_the_form_it_asked_for(site: Site) -> None:
    wires = [await site.listen(gzip=number % 2 == 0) for number in range(6)]

    await site.take(11, 12)
    await site.take(13, 30)

    assert {wire.body for wire in wires} == {wires[1].body}
    assert {wire.sent for wire in wires[::2]} == {wires[0].sent}
    assert len(wires[0].sent) < len(wires[1].sent) / 2
    assert wires[0].seqs == list(range(11, 31))


async def test_ended_stream_is_always_one_whole_gzip_file(site: Site) -> None:
    steady = await site.listen(gzip=True)
    await site.take(11, 14)
    slow = await site.listen(12, gzip=True)
    await site.take(15, 16)
    slow.stall()
    for seq in range(17, 30):
        await site.take(seq, seq)
    slow.drain()
    await site.take(30, 33)
    await site.leave_behind(slow, 34, 89)
    await site.take(90, 91)
    await site.hub._beat()
    site.board.seq = 3
    site.hub.restart(3, replaced=True)
    await eventually(lambda: ("reset", 3) in slow.events, interval_s=0.001)
    await site.take(4, 6)

    await site.hub.drain(5.0)

    for wire in (steady, slow):
        # Raises where the end, its CRC or its length are not those of the body.
        assert gzip.decompress(wire.coded) == wire.body
    assert steady.seqs == [*range(11, 92), 3, 4, 5, 6]
    assert slow.seqs == [*range(13, 35), 89, 90, 91, 3, 4, 5, 6]


async def test_changes_within_a_flush_interval_share_a_write(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.stream.flush_interval.CALM_WRITES_PER_S", 400)
    site.hub._tick_max_s = 10.0
    wires = [await site.listen() for _ in range(100)]
    site.hub.take(changes(11, 11))
    await eventually(lambda: site.hub.cursor == 11, interval_s=0.001)
    before = len(wires[0].sent)

    for seq in range(12, 30):
        site.hub.take(changes(seq, seq))
    await settled()
    assert len(wires[0].sent) == before

    await eventually(lambda: site.hub.cursor == 29, interval_s=0.001)
    assert wires[0].seqs == list(range(11, 30))


@pytest.mark.parametrize("last_event_id", range(5, 11))
async def test_a_listener_that_comes_back_continues_where_it_was(
    site: Site, last_event_id: int
) -> None:
    wire = await site.listen(last_event_id)
    await site.take(11, 12)

    assert re.match(rb"retry: [23]\d{3}\nid: %d\n\n" % last_event_id, wire.body)
    assert wire.events == [("update", seq) for seq in range(last_event_id + 1, 13)]


async def test_resume_in_the_middle_of_a_broadcast_chunk_is_exact(site: Site) -> None:
    await site.take(11, 18)

    wire = await site.listen(14)
    await site.take(19, 19)

    assert wire.seqs == [15, 16, 17, 18, 19]


async def test_history_that_is_gone_becomes_a_reset(site: Site) -> None:
    site.board.seq = 10

    wire = await site.listen(3)
    await site.take(11, 12)

    assert wire.events == [("reset", 10), ("update", 11), ("update", 12)]


async def test_an_id_from_the_future_becomes_a_reset(site: Site) -> None:
    site.board.seq = 10

    wire = await site.listen(9999)
    await site.take(11, 11)

    assert wire.events == [("reset", 10), ("update", 11)]


async def test_id_reached_by_another_process_is_not_in_the_future(site: Site) -> None:
    site.board.seq = 13

    wire = await site.listen(12)
    await site.take(11, 14)

    assert wire.events == [("update", 13), ("update", 14)]


async def test_a_snapshot_ahead_of_the_hub_is_continued_without_repeat(site: Site) -> None:
    site.board.seq = 13

    wire = await site.listen(snapshot=True)
    await site.take(11, 12)
    await site.take(13, 15)

    assert wire.events == [("snapshot", 13), ("update", 14), ("update", 15)]


async def test_a_snapshot_behind_the_hub_is_continued_without_gap(site: Site) -> None:
    site.board.seq = 8

    wire = await site.listen(snapshot=True)
    await site.take(11, 11)

    assert wire.events == [("snapshot", 8), *(("update", seq) for seq in (9, 10, 11))]


async def test_a_slow_listener_is_skipped_and_then_continued(site: Site) -> None:
    slow, quick = await site.listen(), await site.listen()
    slow.stall()

    for seq in range(11, 18):
        await site.take(seq, seq)
    while_stalled = slow.seqs
    slow.drain()
    await site.take(18, 18)

    assert while_stalled == [11]
    assert quick.seqs == slow.seqs == list(range(11, 19))


async def test_a_listener_too_far_behind_gets_a_reset(site: Site) -> None:
    slow = await site.listen()

    await site.leave_behind(slow, 11, 59)
    await site.take(60, 60)

    assert slow.events == [("update", 11), ("reset", 59), ("update", 60)]


async def test_a_listener_that_lags_for_too_long_is_disconnected() -> None:
    site = Site(lagging_max_s=0.05, heartbeat_s=0.1)
    running = asyncio.create_task(site.hub.run())
    site.hub.begin(10, [])
    slow = await site.listen()
    slow.stall()
    await site.take(11, 11)

    await eventually(lambda: slow.closing and not len(site.hub))

    running.cancel()


async def test_a_silent_stream_has_heartbeats() -> None:
    site = Site(heartbeat_s=0.04)
    running = asyncio.create_task(site.hub.run())
    site.hub.begin(10, [])
    wire = await site.listen()

    await eventually(lambda: wire.body.endswith(b":\n\n:\n\n"))

    assert wire.events == []
    running.cancel()


async def test_groups_take_turns_and_none_misses_or_repeats_a_change(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.stream.groups.LISTENERS_PER_GROUP", 2)
    wires = [await site.listen() for _ in range(7)]
    for first in range(11, 111):
        site.hub.take(changes(first, first))
        await asyncio.sleep(0)

    await eventually(lambda: all(wire.seqs == list(range(11, 111)) for wire in wires))
    # Those of one group share their writes; the groups need not.
    assert len({wire.sent for wire in wires[:2]}) == 1


async def test_a_flood_waits_until_every_group_has_had_its_turn(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.stream.groups.LISTENERS_PER_GROUP", 1)
    monkeypatch.setattr("server.stream.hub.CHANGES_PER_SEGMENT", 4)
    wires = [await site.listen() for _ in range(3)]

    # Many times what the ring holds, and each listener slower than the one before.
    site.hub.take(changes(11, 410))

    await eventually(lambda: all(wire.seqs == list(range(11, 411)) for wire in wires))


async def test_group_without_listeners_delays_nobody(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.stream.groups.LISTENERS_PER_GROUP", 1)
    gone, stays = await site.listen(), await site.listen()
    site.hub._tick_max_s = 30.0
    monkeypatch.setattr("server.stream.flush_interval.CALM_WRITES_PER_S", 0.1)
    await site.take(11, 11)
    site.hub.take(changes(12, 12))
    gone.close()

    list(site.hub._listeners.values())[-1].not_before = 0.0
    await eventually(lambda: stays.seqs == [11, 12])
    assert len(site.hub) == 1


async def test_write_is_reported_once_every_listener_has_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.stream.groups.LISTENERS_PER_GROUP", 1)
    for _ in range(3):
        await site.listen()
    complete: list[bool] = []
    site.on_report = lambda last: complete.append(all(w.seqs[-1] >= last for w in site.wires))

    await site.take(11, 13)
    await eventually(lambda: site.reports == [(11, 13, 3)])
    await site.take(14, 15)
    await eventually(lambda: site.reports == [(11, 13, 3), (14, 15, 3)])
    assert complete == [True, True]


async def test_another_history_resets_everybody(site: Site) -> None:
    wires = [await site.listen(), await site.listen(7)]
    await site.take(11, 12)
    site.board.seq = 3

    site.hub.restart(3, replaced=True)
    await eventually(lambda: all(("reset", 3) in w.events for w in wires), interval_s=0.001)
    await site.take(4, 5)

    for wire in wires:
        assert wire.events[-3:] == [("reset", 3), ("update", 4), ("update", 5)]


async def test_pending_changes_of_a_replaced_history_are_dropped(site: Site) -> None:
    wire = await site.listen()
    site.board.seq = 3
    site.hub.take(changes(11, 12))

    site.hub.restart(3, replaced=True)

    await eventually(lambda: wire.events == [("reset", 3)], interval_s=0.001)


async def test_board_of_a_replaced_history_is_never_served(site: Site) -> None:
    wire = await site.listen()
    site.board.seq = 5000
    site.board.gate.clear()
    coming = asyncio.create_task(site.listen(snapshot=True))
    await eventually(lambda: site.board.asked == 1, interval_s=0.001)

    site.board.seq = 3
    site.hub.restart(3, replaced=True)
    site.board.gate.set()
    newcomer = await coming
    await eventually(lambda: ("reset", 3) in wire.events, interval_s=0.001)
    await site.take(4, 5)

    assert site.position.history == 1
    assert newcomer.events == [("snapshot", 3), ("update", 4), ("update", 5)]
    assert wire.events == [("reset", 3), ("update", 4), ("update", 5)]


async def test_skipping_a_gap_keeps_the_history_number(site: Site) -> None:
    wire = await site.listen()
    site.board.seq = 50

    site.hub.restart(50, replaced=False)

    await eventually(lambda: wire.events == [("reset", 50)], interval_s=0.001)
    assert site.position.history == 0


async def test_a_reset_waits_for_a_board_that_is_away(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scoreboard.backoff.RESET_SNAPSHOT", Backoff(first_s=0.01))
    wire = await site.listen()
    site.board.away = True
    site.hub.restart(3, replaced=True)
    await eventually(lambda: site.board.asked > 2, interval_s=0.001)

    site.board.seq, site.board.away = 3, False

    await eventually(lambda: wire.events == [("reset", 3)], interval_s=0.001)


async def test_one_snapshot_serves_all_listeners_that_need_a_reset(site: Site) -> None:
    wires = [await site.listen() for _ in range(50)]
    site.board.seq = 3

    site.hub.restart(3, replaced=True)

    await eventually(lambda: all(w.events == [("reset", 3)] for w in wires), interval_s=0.001)
    assert site.board.asked == 1


async def test_more_listeners_than_allowed_are_refused() -> None:
    site = Site(listeners_max=2)
    site.hub.begin(0, [])
    await site.listen()
    second = await site.listen()

    with pytest.raises(Problem) as refused:
        await site.listen()

    assert (refused.value.kind.code, refused.value.kind.status) == ("overloaded", 503)
    second.close()
    await eventually(lambda: len(site.hub) == 1)
    await site.listen()


async def test_before_the_feed_has_begun_there_is_no_stream() -> None:
    with pytest.raises(Problem) as refused:
        await Site().listen()

    assert refused.value.kind.status == 503


async def test_draining_delivers_pending_events_and_ends_the_body(site: Site) -> None:
    wires = [await site.listen() for _ in range(3)]
    site.hub.take(changes(11, 15))

    await site.hub.drain(1.0)

    for wire in wires:
        assert wire.sent.endswith(b"\r\n0\r\n\r\n")
        assert wire.seqs == [11, 12, 13, 14, 15]
        assert wire.closing
    with pytest.raises(Problem):
        await site.listen()


async def test_stream_that_was_opening_during_a_drain_is_refused(site: Site) -> None:
    """Attached after the drain, it would stay open until its client gave up."""
    site.board.gate.clear()
    opening = asyncio.create_task(site.listen(snapshot=True))
    await eventually(lambda: site.board.asked == 1)

    await site.hub.drain(0.05)
    site.board.gate.set()

    with pytest.raises(Problem) as refused:
        await asyncio.wait_for(opening, 1)
    assert refused.value.kind is UNAVAILABLE
    assert len(site.hub) == 0


async def test_streams_opening_side_by_side_cannot_exceed_the_maximum() -> None:
    site = Site(listeners_max=1)
    site.hub.begin(10, [])
    site.board.seq = 10
    site.board.gate.clear()
    opening = [asyncio.create_task(site.listen(snapshot=True)) for _ in range(2)]
    await eventually(lambda: site.board.asked == 2)

    site.board.gate.set()

    found = await asyncio.gather(*opening, return_exceptions=True)
    assert [isinstance(one, Problem) for one in found] == [False, True]


async def test_a_listener_that_keeps_talking_is_disconnected(site: Site) -> None:
    wire = await site.listen()
    assert wire.protocol

    wire.protocol.data_received(b"x" * MAX_RECEIVED_BYTES)
    assert not wire.closing
    wire.protocol.data_received(b"x")

    assert wire.closing


async def test_a_peer_that_has_just_gone_harms_nobody(site: Site) -> None:
    gone, stays = await site.listen(), await site.listen()
    gone.closing = True

    await site.take(11, 12)

    assert stays.seqs == [11, 12]


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other work runs between any two writes."""
    monkeypatch.setattr("server.stream.hub.LISTENERS_PER_LOOK", 1)
    monkeypatch.setattr("server.stream.slices.SLICE_S", 0.0)


def once_written(wire: Wire, then: Callable[[], object]) -> None:
    """Have `then` run after the next write to `wire`, before the one that follows it."""
    write = wire.protocol._write  # type: ignore[union-attr]

    def writing(data: bytes) -> None:
        wire.protocol._write = write  # type: ignore[union-attr]
        write(data)
        asyncio.get_running_loop().call_soon(then)

    wire.protocol._write = writing  # type: ignore[union-attr]


@pytest.mark.usefixtures("one_by_one")
async def test_other_work_runs_between_the_writes_of_one_change(site: Site) -> None:
    wires = [await site.listen() for _ in range(5)]
    reached: list[int] = []
    for wire in wires:
        once_written(wire, lambda: reached.append(sum(11 in each.seqs for each in wires)))

    await site.take(11, 11)
    await eventually(lambda: len(reached) == 5, interval_s=0.001)

    assert reached == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("one_by_one")
async def test_history_replaced_between_two_writes_leaves_nothing_of_the_old_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    wires = [await site.listen() for _ in range(20)]
    newcomers: list[asyncio.Task[Wire]] = []
    site.board.seq = 10

    def replace() -> None:
        # To where the group was: whoever is reset meanwhile stands where the old write began.
        site.hub.restart(10, replaced=True)
        # Faster than the writing.
        monkeypatch.setattr("server.stream.hub.LISTENERS_PER_LOOK", 100)
        newcomers.append(asyncio.create_task(site.listen()))

    once_written(wires[1], replace)
    site.hub.take(changes(11, 12))
    await eventually(lambda: all(("reset", 10) in w.events for w in wires), interval_s=0.001)
    await site.take(11, 11)

    await eventually(lambda: all(w.seqs[-1:] == [11] for w in site.wires), interval_s=0.001)
    assert (await newcomers[0]).events == [("update", 11)]
    for wire in wires:
        assert wire.events[-2:] == [("reset", 10), ("update", 11)]
    assert [len(wire.events) for wire in wires] == [4] * 2 + [2] * 18


@pytest.mark.usefixtures("one_by_one")
async def test_listeners_that_come_and_go_between_writes_get_changes_once(
    site: Site,
) -> None:
    wires = [await site.listen() for _ in range(5)]
    wires[3].stall()
    await site.take(11, 11)
    late: list[asyncio.Task[Wire]] = []
    once_written(wires[0], wires[3].drain)
    once_written(wires[1], lambda: late.append(asyncio.create_task(site.listen(10))))
    once_written(wires[2], wires[4].close)

    await site.take(12, 12)
    await site.take(13, 13)

    stayed = [*wires[:4], await late[0]]
    await eventually(lambda: all(w.seqs == [11, 12, 13] for w in stayed), interval_s=0.001)
    assert len(site.hub) == 5


@pytest.mark.usefixtures("one_by_one")
async def test_a_group_that_empties_between_two_writes_ends_quietly(site: Site) -> None:
    wires = [await site.listen() for _ in range(3)]

    def leave() -> None:
        for wire in wires:
            wire.close()

    once_written(wires[0], leave)
    await site.take(11, 11)
    await eventually(lambda: not len(site.hub), interval_s=0.001)
    wire = await site.listen()
    await site.take(12, 12)

    await eventually(lambda: wire.seqs == [12], interval_s=0.001)


@pytest.mark.usefixtures("one_by_one")
async def test_second_replacement_while_listeners_are_reset_resets_all_again(site: Site) -> None:
    wires = [await site.listen() for _ in range(4)]
    site.board.seq = 3

    def replace_again() -> None:
        site.board.seq = 5
        site.hub.restart(5, replaced=True)

    once_written(wires[1], replace_again)
    site.hub.restart(3, replaced=True)

    await eventually(lambda: all(("reset", 5) in w.events for w in wires), interval_s=0.001)
    assert [("reset", 3) in wire.events for wire in wires] == [True, True, False, False]
