"""A load run's history knows of each submission before the server can."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.engines.submitter import Connection, Submitter, SubmitterSettings
from harness.evidence.history import Submit, read_history
from harness.evidence.history_writer import SubmissionJournal, history_path
from harness.net.http_wire import SubmissionRequests


class Wire(socket.socket):
    """Notes how many records the sender held when it sent."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__()
        self.sender: Submitter | None = None
        self.known: list[int] = []
        self._broken = broken

    def send(self, data: object, flags: int = 0, /) -> int:
        del flags
        assert self.sender is not None
        self.known.append(self.sender.record_count)
        if self._broken:
            raise OSError("gone")
        assert isinstance(data, bytes)
        return len(data)


@pytest.fixture
def requests() -> SubmissionRequests:
    return SubmissionRequests(host_header="h", tokens={1: "t"}, run_id="r")


@pytest.fixture
def sender(requests: SubmissionRequests) -> Iterator[Submitter]:
    settings = SubmitterSettings(address=("127.0.0.1", 1), start_ns=0, zero_ns=0)
    sender = Submitter(settings, iter([]), lambda _: (1, 5), requests.make)
    yield sender
    sender.close()


@pytest.mark.parametrize(("broken", "left"), [(False, 1), (True, 0)])
def test_submission_is_recorded_before_its_first_byte_leaves(
    sender: Submitter, broken: bool, left: int
) -> None:
    with Wire(broken=broken) as wire:
        wire.sender = sender

        sender._send(Connection(wire), 7, 0)

        assert wire.known == [1]
        assert sender.record_count == left


def test_the_digest_is_that_of_the_body_sent(tmp_path: Path, requests: SubmissionRequests) -> None:
    journal = SubmissionJournal(tmp_path, name="submitters-0", run_id="r")
    journal.write([(7, 1, 5, 10)], [])
    journal.close(drained=True)

    [kept] = [
        record
        for record in read_history(history_path(tmp_path, "submitters-0")).records
        if isinstance(record, Submit)
    ]

    body = requests.make(7, 1, 5).partition(b"\r\n\r\n")[2]
    assert kept.digest == hashlib.blake2b(body, digest_size=8).hexdigest()
