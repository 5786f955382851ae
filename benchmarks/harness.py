"""What is timed of the measuring engine: its hot and pure parts. Not the timing itself."""

import random

import numpy as np

from benchmarks.core import SEED, Case, Prepared
from harness.measure.histogram import Histogram
from harness.measure.schedule import arrivals, parse_profile
from harness.net.http_wire import SubmissionRequests, answer_end, submission_id_of
from harness.net.sse_parser import Span
from harness.net.stream_framing import Framer
from scoreboard.domain import Change
from scoreboard.sse import chunk, encode_updates


def _durations(size: int) -> list[int]:
    chance = random.Random(SEED)
    return [int(chance.expovariate(1 / 20_000)) for _ in range(size)]


def _record(size: int) -> Prepared:
    values = _durations(size)

    def work() -> Histogram:
        histogram = Histogram()
        for value in values:
            histogram.record(value)
        return histogram

    def check(histogram: Histogram) -> None:
        assert histogram.total == size
        assert histogram.sum_us == sum(values)

    return work, check


def _merge(size: int) -> Prepared:
    wires = []
    for start in range(size):
        histogram = Histogram()
        for value in _durations(100 + start):
            histogram.record(value)
        wires.append(histogram.to_wire())

    def check(merged: Histogram) -> None:
        assert merged.total == sum(100 + start for start in range(size))

    return lambda: Histogram.union(Histogram.from_wire(wire) for wire in wires), check


def _lags(size: int) -> Prepared:
    ends = np.array(_durations(size), dtype=np.int64) + 1_000_000
    starts = np.arange(10, dtype=np.int64) * 1000
    weights = np.full(10, 10, dtype=np.int64)

    def work() -> Histogram:
        histogram = Histogram()
        histogram.record_differences(ends, starts, weights)
        return histogram

    def check(histogram: Histogram) -> None:
        assert histogram.total == 100 * size

    return work, check


def _changes(size: int) -> list[Change]:
    return [
        Change(seq=n, user_id=n, name=f"User{n:05d}", score=n, committed_us=10**15 + n // 50)
        for n in range(1, size + 1)
    ]


def _scan(size: int) -> Prepared:
    payload = encode_updates(_changes(size))

    def check(span: Span) -> None:
        assert (span.plain, span.first, span.last) == (True, 1, size)

    return lambda: Span(payload, 0), check


def _frame(size: int) -> Prepared:
    payload = encode_updates(_changes(size))
    raw = chunk(payload)

    def check(payloads: list[bytes]) -> None:
        assert payloads == [payload]

    return lambda: list(Framer().feed(raw)), check


def _requests(size: int) -> Prepared:
    requests = SubmissionRequests(host_header="h", tokens={1: "t" * 200}, run_id="run")

    def check(made: list[bytes]) -> None:
        assert len(made) == size
        assert made[-1].endswith(b'{"userId":1,"increment":7}')

    return lambda: [requests.make(number, 1, 7) for number in range(size)], check


def _answers(size: int) -> Prepared:
    body = b'{"message":"Score update request submitted","submissionId":"%b"}' % (b"a" * 36)
    answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    def work() -> int:
        return sum(
            1
            for _ in range(size)
            if answer_end(answer) == len(answer) and submission_id_of(answer) is not None
        )

    def check(framed: int) -> None:
        assert framed == size

    return work, check


def _schedule(size: int) -> Prepared:
    profile = parse_profile(f"1000x{size / 1000}")

    def check(due: list[tuple[int, int]]) -> None:
        assert len(due) == size

    return lambda: list(arrivals(profile, seed=SEED, poisson=False)), check


CASES = [
    Case(name="histogram_record", size=1000, prepare=_record),
    Case(name="histogram_merge", size=60, prepare=_merge),
    Case(name="lags_of_a_span", size=1000, prepare=_lags),
    Case(name="scan_a_tick", size=100, prepare=_scan),
    Case(name="frame_a_tick", size=100, prepare=_frame),
    Case(name="build_requests", size=1000, prepare=_requests),
    Case(name="frame_answers", size=1000, prepare=_answers),
    Case(name="schedule", size=1000, prepare=_schedule),
]
