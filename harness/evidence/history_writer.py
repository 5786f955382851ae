"""Writes the records of engines into histories, off the hot path. Not the format itself.

Engines collect tuples; a journal turns them into history records between turns. A submission's
record precedes its completion and bears the time of the send, not of the write.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.capabilities import CONTRACT, Capabilities
from harness.engines import submitter
from harness.engines.listener_stats import Sighting, Stretch
from harness.evidence.history import (
    BY_CONTENT,
    FINAL_CAUSE,
    Done,
    Event,
    FinalBoard,
    HistoryWriter,
    InitialBoard,
    Listen,
    Outcome,
    Roster,
    Submit,
    digest_of,
)
from harness.measure.terminal import reason_of
from harness.net.http_wire import SUBMISSION_BODY
from harness.net.target import Page

_OUTCOMES = {"ok": Outcome.OK, "fail": Outcome.FAIL, "unknown": Outcome.UNKNOWN}


def history_path(folder: Path, name: str) -> Path:
    """The history file of one process."""
    return folder / f"history-{name}.jsonl"


class _Journal:
    """One history file of one engine."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        shift_ns: int = 0,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = history_path(folder, name)
        self._name = name
        self._writer = HistoryWriter(
            self.path, process=name, shift_ns=shift_ns, about=dict(about or {})
        )

    def close(self, *, drained: bool, about: Mapping[str, Any] | None = None) -> int:
        """Write the closing record and close the file; its size in bytes."""
        try:
            self._writer.end(drained=drained, about=dict(about or {}))
        finally:
            self._writer.close()
        return self._writer.bytes_written


class SubmissionJournal(_Journal):
    """Writes submissions. Keeps one integer for each outstanding one."""

    def __init__(self, folder: Path, *, name: str, run_id: str, shift_ns: int = 0) -> None:
        super().__init__(folder, name=name, shift_ns=shift_ns)
        self._run_id = run_id
        self._open: dict[int, int] = {}

    def write(self, sent: list[submitter.Sent], done: list[submitter.Done]) -> None:
        """Append what an engine handed out. About 8 µs per submission."""
        put = self._writer.put
        for number, user, increment, sent_ns in sent:
            self._open[number] = put(
                Submit,
                time_ns=sent_ns,
                client=self._name,
                principal=str(user),
                user=user,
                increment=increment,
                digest=digest_of(SUBMISSION_BODY % (user, increment)),
                key=f"{self._run_id}-{number}",
            )
        for number, outcome, status, sid, done_ns in done:
            put(
                Done,
                time_ns=done_ns,
                of=self._open.pop(number),
                outcome=_OUTCOMES[outcome],
                status=status or None,
                sid=sid.decode("ascii", "replace") if sid else None,
            )


class ListenerJournal(_Journal):
    """Writes what the listeners of a process received, into a file of its own."""

    def __init__(
        self, folder: Path, *, name: str, shift_ns: int = 0, by_content: bool = False
    ) -> None:
        about = {"events": BY_CONTENT} if by_content else None
        super().__init__(folder, name=name, shift_ns=shift_ns, about=about)

    def write(
        self, events: Sequence[tuple[int, str, int] | Sighting], stretches: list[Stretch]
    ) -> None:
        """Append the records that the engine returned."""
        write_listeners(self._writer, events, stretches)


def write_listeners(
    writer: HistoryWriter,
    events: Sequence[tuple[int, str, int] | Sighting],
    stretches: list[Stretch],
) -> None:
    """Append each change once and each listener's stretches. About 3 µs per record."""
    put = writer.put
    for event in events:
        if isinstance(event, Sighting):
            put(
                Event,
                time_ns=event.time_ns,
                seq=event.number,
                user=event.user,
                score=event.score,
                listener=f"listener-{event.listener}",
            )
        else:
            seq, user, score = event
            put(Event, seq=seq, user=user, score=score)
    for listener, what, first, last, detail, top, time_ns in stretches:
        name = f"listener-{listener}"
        if time_ns:
            put(
                Listen,
                time_ns=time_ns,
                listener=name,
                what=what,
                **_content(what, first, last, detail),
            )
            continue
        match what:
            case "open":
                resumed = first if first >= 0 else None
                put(Listen, listener=name, what=what, last_event_id=resumed)
            case "close":
                cause = FINAL_CAUSE if detail == "stopped" else detail
                put(Listen, listener=name, what=what, last=last, detail=cause)
            case "reset" | "snapshot":
                scores = [(row.user, row.score) for row in top.scores] if top else None
                put(Listen, listener=name, what=what, seq=first, scores=scores)
            case "violation":
                got = f": expected {first}, got {last}" if last >= 0 else ""
                put(Listen, listener=name, what=what, first=first, last=last, detail=detail + got)
            case _:
                put(Listen, listener=name, what=what, first=first, last=last)


def _content(what: str, first: int, last: int, detail: str) -> dict[str, Any]:
    """The fields of a stretch of events without ids."""
    fields: dict[str, Any] = {"first": first, "last": last} if what in ("range", "late") else {}
    if what == "lacks":
        fields["last"] = last
    if detail:
        fields["detail"] = FINAL_CAUSE if what == "close" and detail == "stopped" else detail
    return fields


class BoardJournal:
    """Writes the coordinator's reads of the board, the first board, users' names, and in the header
    what the server showed. `own_page`: a board need not have ten rows."""

    def __init__(
        self, folder: Path, *, capabilities: Capabilities = CONTRACT, own_page: bool = False
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.problem = ""
        """Why the history is not whole."""
        self._writer = HistoryWriter(
            history_path(folder, "coordinator"),
            process="coordinator",
            about={
                "kind": "load",
                "capabilities": msgspec.to_builtins(capabilities),
                **({"own_page": True} if own_page else {}),
            },
        )

    def begin(self, seq: int, scores: Mapping[str, int] | None, names: Mapping[int, str]) -> None:
        """Write the board before the first submission, where it is known."""
        if names:
            self._writer.put(Roster, users=sorted(names.items()))
        if scores is not None and seq >= 0:
            best_first = sorted(scores.items(), key=lambda pair: -pair[1])
            self._writer.put(InitialBoard, seq=seq, scores=best_first)

    def read(self, look: Callable[[int], Page], limit: int) -> Page:
        """Read the board and record the read's start and end. Raises OSError as `look` does."""
        # The record counts even when the disk does not take it.
        index = self._writer.records_written
        with self._noted():
            self._writer.read(client="coordinator", limit=limit)
        try:
            page = look(limit)
        except OSError:
            with self._noted():
                self._writer.done(index, Outcome.UNKNOWN)
            raise
        with self._noted():
            self._writer.done(index, Outcome.OK, status=200, seq=page.seq, scores=page.rows)
        return page

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """A history that cannot be written costs the evidence, not the run."""
        try:
            yield
        except OSError as error:
            self.problem = f"the history could not be written: {reason_of(error)}"

    def close(
        self,
        *,
        drained: bool,
        board: tuple[int, Mapping[str, int]] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the last board (seq, scores by name), the closing record, and close the file."""
        with self._noted():
            if board is not None:
                seq, scores = board
                self._writer.put(FinalBoard, seq=seq, scores=list(scores.items()))
            self._writer.end(drained=drained, about=dict(about or {}))
        with self._noted():
            self._writer.close()


@contextlib.contextmanager
def closed_at_the_end(close: Callable[[], None]) -> Iterator[None]:
    """Closes a history when an engine has ended. What ended the engine counts, as a full disk;
    that the end cannot be written either is no news."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            close()
        raise
    close()
