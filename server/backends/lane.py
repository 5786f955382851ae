"""Which workflow an API process hands its next batch to. Not the call: see `temporal`."""

from scoreboard import contract

BATCHES_MAX = 500
BYTES_MAX = 4 * 1024 * 1024
"""What a lane takes: far from the 10,000 signals and 50 MiB at which Temporal ends a workflow."""


class Lane:
    """The lanes of one process, one after the other."""

    def __init__(self, process: str) -> None:
        self._process = process
        self._number = 1
        self._batches = self._bytes = 0

    def take(self, size: int) -> tuple[str, bool]:
        """The workflow id for a batch of so many bytes, and whether it is the last one there."""
        lane = contract.lane_workflow_id(self._process, self._number)
        self._batches += 1
        self._bytes += size
        last = self._batches >= BATCHES_MAX or self._bytes >= BYTES_MAX
        if last:
            self._number += 1
            self._batches = self._bytes = 0
        return lane, last
