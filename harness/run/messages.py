"""What Locust's master and its workers tell each other about a run: typed and versioned.

Values only. `pack` makes of a message what Locust can carry (plain values and bytes), `unpack`
makes a message of that again or says that the other side speaks another version. Who sends what
when is `harness.run.coordinator`'s and `harness.run.locust_users`' to decide.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from harness.capabilities import Capabilities, Signs
from harness.engines.listener_stats import ListenerTotals
from harness.measure.clocks import Clock
from harness.measure.workload import Workload
from harness.targets.description import Description
from harness.targets.template import Value

VERSION = 5
"""Raise it with every change of a message: master and workers must be of the same version."""

JOIN, ASSIGN, DRAIN, FINISH = (f"scoreboard_{w}" for w in ("join", "assign", "drain", "finish"))
STORM = "scoreboard_storm"
REPORT, BROKEN = "scoreboard_report", "scoreboard_broken"
FETCH, PIECE = "scoreboard_fetch", "scoreboard_piece"

T = TypeVar("T", bound="Message")

SeriesWire = list[tuple[int, dict[str, int], dict[str, list[int]]]]
"""Second, counters, histograms: what `Series.drain` returns."""


class OtherVersion(Exception):
    """The message is of another version of this package; it tells what to do."""


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all messages. `ident` names the Locust user that sends or receives it."""

    ident: str


class Join(Message, frozen=True, kw_only=True):
    """A user was started and waits for work. Its process may open so many `descriptors`."""

    kind: str
    pid: int
    host: str
    descriptors: int


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """What every user must know. `clock` is the coordinator's, `zero_unix_ns` second 0 of all
    series; `name` is that of the user's history; `server` is there for one not as specified."""

    name: str
    address: tuple[str, int]
    host_header: str
    run_id: str
    results: str
    clock: Clock
    seed: int
    zero_unix_ns: int
    server: Description | None = None


class SubmitterAssignment(Assignment, frozen=True, kw_only=True, tag="submitters"):
    """The slice of the schedule that a user sends. Secrets travel here, never in a command line."""

    tokens: dict[int, str]
    users: dict[int, dict[str, Value]] = {}
    signing_key: tuple[str, bytes] | None
    slice_index: int
    slice_count: int
    begin_unix_ns: int
    length_s: float
    workload: Workload
    connections: int
    timeout_s: float
    reads: str = "0"


class ListenerAssignment(Assignment, frozen=True, kw_only=True, tag="listeners"):
    """The listeners that a user holds, the tokens that they carry in turn, and what the server
    showed before the run: also the `labels` of players who share a name. `slow` ones are
    besides the `listeners`."""

    listeners: int
    first_number: int
    tokens: list[str]
    users: list[dict[str, Value]] = []
    gzip: bool
    ramp_s: float = 0.0
    stay_s: float = 0.0
    slow: int = 0
    slow_bytes_per_s: int = 0
    capabilities: Capabilities
    labels: dict[int, str] = {}
    events_max: int


class Assign(Message, frozen=True, kw_only=True):
    """Work for one user."""

    work: SubmitterAssignment | ListenerAssignment


class Drain(Message, frozen=True, kw_only=True):
    """Begin no further submission."""


class Storm(Message, frozen=True, kw_only=True):
    """Cut all streams now."""


class Finish(Message, frozen=True, kw_only=True):
    """Wind up and report for the last time; `target` is the seq that listeners should stand at, -1
    where events have no ids to follow."""

    target: int


class SubmitterStatus(msgspec.Struct, frozen=True, kw_only=True, tag="submitters"):
    """How a submitter stands."""

    busy: int
    connections: int
    finished: bool
    cpu_s: float


class ListenerStatus(msgspec.Struct, frozen=True, kw_only=True, tag="listeners"):
    """How listeners stand. `grown_kib`: what its process took to connect all its listeners."""

    account: ListenerTotals
    cpu_s: float
    grown_kib: int | None = None


class Final(msgspec.Struct, frozen=True, kw_only=True):
    """What only the last report has: the history's size, and from listeners each user's newest
    change and when events had reached its listeners."""

    history_bytes: int
    latest: dict[str, tuple[int, int]] = {}
    reach: dict[str, int | bytes] = {}
    signs: Signs = Signs()


class Report(Message, frozen=True, kw_only=True):
    """What happened since the last report; without status while the engine does not run."""

    series: SeriesWire = []
    status: SubmitterStatus | ListenerStatus | None = None
    final: Final | None = None


class Broken(Message, frozen=True, kw_only=True):
    """An engine ended with an error, for people, or because Locust stopped its user."""

    error: str = ""
    stopped: bool = False


class Fetch(Message, frozen=True, kw_only=True):
    """The coordinator asks for the piece of a history at `offset`."""

    offset: int


class Piece(Message, frozen=True, kw_only=True):
    """A compressed piece of a history, or the reason why there is none."""

    offset: int
    piece: bytes
    problem: str


def pack(message: Message) -> dict[str, Any]:
    """What Locust carries of a message: the version, and the rest as bytes."""
    return {"version": VERSION, "message": msgspec.msgpack.encode(message)}


def unpack(data: object, kind: type[T]) -> T:
    """The message of `kind` in what `pack` made. Raises OtherVersion."""
    version = data.get("version") if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or version != VERSION:
        raise OtherVersion(
            f"the messages of the other side are of version {version or 'unknown'}, ours of "
            f"{VERSION}: install the same version of Scoreboard for the master and its workers"
        )
    try:
        return msgspec.msgpack.decode(data["message"], type=kind)
    except (KeyError, TypeError, msgspec.DecodeError) as error:
        raise OtherVersion(
            f"a message of the other side cannot be read ({error}): install the same version of "
            "Scoreboard for the master and its workers"
        ) from error


def status_document(status: SubmitterStatus | ListenerStatus) -> dict[str, Any]:
    """The status as the result document has it: flat, with text for keys."""
    values: dict[str, Any] = msgspec.to_builtins(status, str_keys=True)
    del values["type"]
    return {**values.pop("account", {}), **values}


def series_of(drained: Sequence[Sequence[Any]]) -> SeriesWire:
    """What `Series.drain` returned, as a message carries it."""
    return [(number, counters, histograms) for number, counters, histograms in drained]
