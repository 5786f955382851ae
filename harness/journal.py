"""Hands an engine's records over to the history, off the hot path. Not the format itself.

The engines keep tuples; a journal turns them into history records between
turns. A submission's record stands before the record of its end, with the time
of the send, not of the writing.
"""

from pathlib import Path

from harness import submitter
from harness.history import Done, Event, HistoryWriter, Listen, Outcome, Submit
from harness.swarm import Stretch

_OUTCOMES = {"ok": Outcome.OK, "fail": Outcome.FAIL, "unknown": Outcome.UNKNOWN}


def history_path(folder: Path, name: str) -> Path:
    """The history file of one process."""
    return folder / f"history-{name}.jsonl"


class SubmissionJournal:
    """Writes submissions. Keeps one integer for each that has not ended."""

    def __init__(self, folder: Path, *, name: str, run_id: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = HistoryWriter(history_path(folder, name), process=name)
        self._name = name
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
                digest=f"{user}:{increment}",
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

    def close(self, *, drained: bool) -> None:
        """Write the closing record and close the file."""
        self._writer.end(drained=drained)
        self._writer.close()


class ListenerJournal:
    """Writes what listeners saw: each change once, each listener's stretches."""

    def __init__(self, folder: Path, *, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = HistoryWriter(history_path(folder, name), process=name)
        self._name = name

    def write(self, events: list[tuple[int, str, int]], stretches: list[Stretch]) -> None:
        """Append what a swarm handed out. About 3 µs per record."""
        put = self._writer.put
        for seq, user, score in events:
            put(Event, seq=seq, user=user, score=score)
        for listener, what, first, last in stretches:
            name = f"{self._name}/{listener}"
            if what == "range":
                put(Listen, listener=name, what=what, first=first, last=last)
            elif what == "open":
                put(
                    Listen,
                    listener=name,
                    what=what,
                    last_event_id=first if first >= 0 else None,
                )
            elif what == "close":
                put(Listen, listener=name, what=what, last=last)
            else:
                put(Listen, listener=name, what=what, seq=first)

    def close(self, *, drained: bool) -> None:
        """Write the closing record and close the file."""
        self._writer.end(drained=drained)
        self._writer.close()
