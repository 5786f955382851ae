"""Listeners that leave, come back in a storm or read slowly are counted, and no server's fault."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from harness.engines.churn import Churn, Recovery
from harness.engines.deliveries import NOTHING_SHOWN, Deliveries
from harness.engines.standalone import drive, null_server
from harness.engines.submitter import Submitter, SubmitterSettings
from harness.engines.swarm import Swarm
from harness.engines.swarm_settings import SwarmSettings
from harness.measure.schedule import NS, arrivals, parse_profile
from harness.measure.series import Series
from harness.net.http_wire import SubmissionRequests
from harness.net.target import Target, get_scores
from harness.traffic.slow_readers import SlowReaders

LISTENERS = 20


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with null_server() as (url, _):
        yield Target(base_url=url, secret=b"0" * 32)


def swarm_of(target: Target, **settings: object) -> Swarm:
    return Swarm(
        SwarmSettings(
            address=target.address,
            host_header=target.host_header,
            listeners=LISTENERS,
            start_unix_ns=time.time_ns(),
            **settings,  # type: ignore[arg-type]
        )
    )


def sender_of(target: Target, seconds: float) -> Submitter:
    start = time.monotonic_ns()
    return Submitter(
        SubmitterSettings(address=target.address, start_ns=start, zero_ns=start),
        arrivals(parse_profile(f"400x{seconds}"), seed=1, poisson=False),
        lambda number: (1 + number % 5, 1),
        SubmissionRequests(
            host_header=target.host_header,
            tokens=target.tokens(5, int(time.time())),
            run_id=f"r{start}",
        ).make,
    )


def test_listeners_cut_in_a_storm_come_back_at_once_and_catch_up(target: Target) -> None:
    swarm = swarm_of(target)
    assert drive([swarm], lambda: swarm.streaming == LISTENERS, timeout_s=10)
    sender = sender_of(target, 0.5)
    drive([sender, swarm], lambda: sender.series.total("ok") > 50, timeout_s=10)
    swarm.storm()
    storm_ns = time.time_ns()

    assert drive([sender, swarm], lambda: sender.finished, timeout_s=20)
    last = get_scores(target).seq
    assert drive([swarm], lambda: swarm.converging_to >= last, timeout_s=10)
    assert drive([swarm], lambda: swarm.series.total("catch_ups") == LISTENERS - 1, timeout_s=10)
    account = swarm.account(last)
    swarm.close()
    sender.close()

    series: Series = swarm.series
    assert series.total("storm_cut") == series.total("reconnects") == LISTENERS - 1
    slowest = series.merged("catch_up").at(1.0)
    assert slowest is not None
    assert slowest * 1000 <= time.time_ns() - storm_ns
    assert series.merged("reconnect").total == LISTENERS - 1
    assert series.total("disconnects") == 0
    assert account.behind == account.missing == account.gaps == 0
    assert account.disconnects == {"cut by us": LISTENERS - 1}


def test_others_come_in_the_place_of_listeners_that_leave(target: Target) -> None:
    churn = Churn(
        listeners=range(1, LISTENERS), stays_s=(0.05, 0.15), away_s=(0, 0), others_come=True
    )
    swarm = swarm_of(target, churn=(churn,))
    assert drive([swarm], lambda: swarm.streaming == LISTENERS, timeout_s=10)
    sender = sender_of(target, 0.5)

    assert drive([sender, swarm], lambda: sender.finished, timeout_s=20)
    last = get_scores(target).seq
    assert drive([swarm], lambda: swarm.account(last).behind == 0, timeout_s=10)
    account = swarm.account(last)
    _, stretches = swarm.take_records()
    swarm.close()
    sender.close()

    left = account.disconnects["left to come back"]
    assert left > LISTENERS
    assert set(account.disconnects) == {"left to come back"}
    opened = [stretch for stretch in stretches if stretch.what == "open"]
    assert all(stretch.first == -1 for stretch in opened)
    assert not [
        stretch for stretch in stretches if stretch.listener == 0 and stretch.what == "close"
    ]


def test_a_newcomer_that_was_shown_nothing_is_not_behind() -> None:
    deliveries = Deliveries(2)
    for index in (0, 1):
        deliveries.opened(index)
    deliveries.cursor[0] = 7
    deliveries.closed(1, "left to come back")
    deliveries.forget(1)
    deliveries.opened(1)

    account = deliveries.account(streaming=2, disconnects={}, target=7)
    deliveries.closed(1, "stopped")

    assert (account.cursor_min, account.cursor_max, account.behind) == (7, 7, 0)
    assert deliveries.take_records()[1][-1].detail == NOTHING_SHOWN


def test_a_listener_that_was_there_from_the_start_is_behind_until_it_is_shown_something() -> None:
    deliveries = Deliveries(2)
    deliveries.cursor[0] = 7

    account = deliveries.account(streaming=2, disconnects={}, target=7)

    assert (account.cursor_min, account.behind) == (-1, 1)


def test_a_stream_lost_again_after_a_storm_goes_on_counting_from_the_cut() -> None:
    series = Series()
    recovery = Recovery(lambda: series.seconds[0])

    recovery.cut(1, 0)
    recovery.back(1, NS, goal=10)
    recovery.lost(1)
    recovery.back(1, 3 * NS, goal=12)
    recovery.look([0, 11], 4 * NS)
    recovery.look([0, 12], 5 * NS)

    assert len(recovery) == 0
    assert series.merged("catch_up").at(1.0) == pytest.approx(5e6, rel=0.02)


@pytest.fixture
def firehose() -> Iterator[tuple[tuple[str, int], threading.Event]]:
    """A server that writes to each stream as fast as it is read, until told to cut them all."""
    cut = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.settimeout(0.2)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            while not cut.is_set():
                try:
                    connection.send(b"data: x\n\n" * 100)
                except TimeoutError:
                    continue
        except OSError:
            pass
        connection.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            accepted.append(connection)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listener.getsockname()[:2], cut
    cut.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_slow_listeners_read_no_more_than_they_may_and_a_cut_is_counted(
    firehose: tuple[tuple[str, int], threading.Event],
) -> None:
    address, cut = firehose
    slow = SlowReaders(
        address,
        listeners=3,
        bytes_per_s=2000,
        request=lambda _: b"GET /scores/stream HTTP/1.1\r\nHost: x\r\n\r\n",
        start_unix_ns=time.time_ns(),
    )

    def turns_until(done: object, timeout_s: float) -> bool:
        assert callable(done)
        end = time.monotonic() + timeout_s
        while not done() and time.monotonic() < end:
            slow.turn()
            time.sleep(0.02)
        return bool(done())

    begun = time.monotonic()
    assert turns_until(lambda: slow.series.total("slow_bytes") > 3 * 1000, 10)
    took_s = time.monotonic() - begun
    assert slow.streaming == slow.series.total("slow_connects") == 3
    assert slow.series.total("slow_bytes") <= 3 * 2000 * (took_s + 0.1)
    cut.set()
    # What the kernel holds of each is read first, at the same pace.
    slow._bytes_per_s = 1_000_000
    assert turns_until(lambda: slow.series.total("slow_cut") == 3, 10)
    slow.close()

    assert slow.streaming == 0


def test_refused_slow_listeners_are_counted_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()[:2]
    slow = SlowReaders(
        address,
        listeners=2,
        bytes_per_s=100,
        request=lambda _: b"",
        start_unix_ns=time.time_ns(),
    )

    end = time.monotonic() + 5
    while slow.series.total("slow_refused") < 2 and time.monotonic() < end:
        slow.turn()
        time.sleep(0.01)
    slow.close()

    assert slow.series.total("slow_refused") == 2
    assert slow.series.total("slow_cut") == 0
