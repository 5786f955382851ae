"""What Locust's master and workers tell each other, and who of them gets work."""

from typing import Any

import msgspec
import pytest

from harness.capabilities import CONTRACT
from harness.engines.listener_stats import ListenerTotals
from harness.measure.clocks import Clock
from harness.measure.series import Series
from harness.measure.workload import Workload
from harness.run import messages
from harness.run.messages import OtherVersion, pack, unpack
from harness.run.worker_state import Member, assign_roles, in_turn, share, users_for

COMMON: dict[str, Any] = {
    "name": "submitters-0",
    "address": ("127.0.0.1", 3000),
    "host_header": "localhost:3000",
    "run_id": "run",
    "results": "results",
    "clock": Clock("boot", 5),
    "seed": 1,
    "zero_unix_ns": 7,
}
FLOOD = messages.SubmitterAssignment(
    **COMMON,
    tokens={1: "token"},
    signing_key=("id", b"key"),
    slice_index=0,
    slice_count=2,
    begin_unix_ns=9,
    length_s=1.5,
    workload=Workload(rate="10", players=1, bursts="2x/1s/2s"),
    connections=4,
    timeout_s=10.0,
)
SWARM = messages.ListenerAssignment(
    **COMMON,
    listeners=5,
    first_number=3,
    tokens=["token"],
    gzip=True,
    capabilities=CONTRACT,
    events_max=9,
)
SWARM_STATUS = messages.ListenerStatus(
    account=ListenerTotals(listeners=2, faulty={1: {"gaps": 1}}), cpu_s=1
)


def series() -> messages.SeriesWire:
    figures = Series()
    figures.seconds[3].counters["ok"] += 2
    figures.seconds[3].histograms["lag"].record(70)
    return messages.series_of(figures.drain())


@pytest.mark.parametrize(
    "message",
    [
        messages.Join(ident="a", kind="submitters", pid=1, host="h", descriptors=1024),
        messages.Assign(ident="a", work=FLOOD),
        messages.Assign(ident="a", work=SWARM),
        messages.Drain(ident="a"),
        messages.Finish(ident="a", target=-1),
        messages.Report(ident="a"),
        messages.Report(ident="a", series=series(), status=SWARM_STATUS),
        messages.Report(
            ident="a",
            final=messages.Final(
                history_bytes=9, latest={"Alice": (4, 50)}, reach={"base": 4, "reached": b"\1"}
            ),
        ),
        messages.Broken(ident="a", error="x"),
        messages.Fetch(ident="a", offset=0),
        messages.Piece(ident="a", offset=0, piece=b"\0\xff", problem=""),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_arrives_as_it_was_sent(message: messages.Message) -> None:
    # Locust carries what MessagePack knows, and nothing else.
    carried = msgspec.msgpack.decode(msgspec.msgpack.encode(pack(message)))

    assert unpack(carried, type(message)) == message


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"ident": "a", "kind": "submitters", "pid": 1, "host": "h", "descriptors": 9},
        {**pack(messages.Drain(ident="a")), "version": messages.VERSION + 1},
        {"version": messages.VERSION},
        {"version": messages.VERSION, "message": b"\xc1"},
        pack(messages.Drain(ident="a")),
        pack(messages.Piece(ident="a", offset=0, piece=b"", problem="")),
    ],
    ids=[
        *("nothing", "an empty one", "one without version", "a later version", "no message"),
        *("no MessagePack", "one with less fields", "one with other fields"),
    ],
)
def test_message_of_another_version_is_refused_with_a_remedy(data: object) -> None:
    with pytest.raises(OtherVersion, match="install the same version of Scoreboard"):
        unpack(data, messages.Join)


def test_the_document_of_a_status_is_flat_with_text_for_keys() -> None:
    document = messages.status_document(SWARM_STATUS)

    assert document["listeners"] == 2
    assert document["faulty"] == {"1": {"gaps": 1}}
    assert document["cpu_s"] == 1
    assert document["grown_kib"] is None
    assert "account" not in document
    assert "type" not in document


def members(*processes: str) -> list[Member]:
    """One process each, with a user for every letter: f(lood) or s(warm)."""
    kinds = {"f": "submitters", "s": "listeners"}
    return [
        Member(ident=f"{pid}{number}", kind=kinds[letter], pid=pid, host="h")
        for pid, letters in enumerate(processes)
        for number, letter in enumerate(letters)
    ]


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        (["fs"], [("submitters-0", 0), ("listeners-0", 0)]),
        (["f"], [("submitters-0", 0)]),
        (["ffss"], [("submitters-0", 0), ("listeners-0", 0)]),
        (["f", "s"], [("submitters-0", 0), ("listeners-0", 1)]),
        (["fs", "fs"], [("submitters-0", 0), ("listeners-0", 1)]),
        (["fs", "f"], [("submitters-0", 1), ("listeners-0", 0)]),
        (["fs", "s", "f"], [("submitters-0", 0), ("submitters-1", 2), ("listeners-0", 1)]),
        (["f", "f"], [("submitters-0", 0), ("submitters-1", 1)]),
        (
            ["fs"] * 4,
            [("submitters-0", 0), ("submitters-1", 2), ("listeners-0", 1), ("listeners-1", 3)],
        ),
    ],
    ids=str,
)
def test_every_process_has_one_role_where_there_are_enough(
    processes: list[str], expected: list[tuple[str, int]]
) -> None:
    joined = members(*processes)

    assert [(member.name, member.pid) for member in assign_roles(joined)] == expected
    assert [(m.name, m.pid) for m in assign_roles(reversed(joined))] == expected


@pytest.mark.parametrize(("workers", "users"), [(1, 2), (2, 2), (3, 4), (4, 4), (5, 6), (8, 8)])
def test_the_default_number_of_users_leaves_no_worker_idle(workers: int, users: int) -> None:
    assert users_for(workers, ["listeners", "submitters"]) == users
    # Locust places users of the classes in turn on the workers in turn.
    processes = [""] * workers
    for number in range(users):
        processes[number % workers] += "fs"[number % 2]

    chosen = assign_roles(members(*processes))

    assert {member.pid for member in chosen} == set(range(workers))
    assert len(chosen) == max(2, workers)
    assert {member.kind for member in chosen} == {"submitters", "listeners"}


def test_shares_add_up_and_differ_by_one_at_most() -> None:
    parts = [share(11, index, 4) for index in range(4)]

    assert sum(parts) == 11
    assert max(parts) - min(parts) == 1


def test_listeners_of_several_processes_carry_the_tokens_in_turn() -> None:
    assert in_turn(["a", "b", "c"], 2, 2) == ["c", "a"]
    assert in_turn(["a", "b"], 1, 5) == ["b", "a"]
    assert in_turn([], 3, 5) == []
