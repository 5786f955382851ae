"""A process that submits when it is time to, whatever became of earlier ones. JSON out.

    python -m benchmarks.peers.open_loop '{"port":…, "rate":…, …}'

The harness' own submitter: response times count from the intended send. The
submissions are those of `closed_loop`, without Idempotency-Key, since the rate
is a share of what that reaches.
"""

import time
from pathlib import Path

import msgspec

from benchmarks.peers.processes import answer_task
from harness.engines.standalone import drive
from harness.engines.submitter import Submitter, SubmitterSettings
from harness.measure.schedule import arrivals, parse_profile
from harness.net.http_wire import SUBMISSION_BODY, submission_head
from harness.net.sockets import raise_descriptor_limit
from scoreboard.tokens import mint
from stack.ports import HOST

NS = 1_000_000_000
_FIRST_USER = 3
_LEAD_S = 1.0
"""Tokens are made and connections are open before the first arrival is due."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """Poisson arrivals at `rate` per second; figures begin after `warm_up_s`.

    One in `changing` adds a point; the others take one from users who have none,
    so they are accepted, recorded as refused, and change nothing. `times` names a
    file that gets 24 bytes for each answered submission: its id, when it was due
    (Unix µs).
    """

    port: int
    secret: str
    users: int
    rate: float
    duration_s: float
    warm_up_s: float
    seed: int
    changing: int = 1
    times: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of all arrivals; times in ms of those after the warm-up, from the intended send."""

    intended: int
    accepted: int
    refused: int
    unknown: int
    dropped: int
    p50_ms: float
    p99_ms: float
    late_p99_ms: float
    cpu_s: float

    @property
    def clean(self) -> bool:
        """Whether every arrival was sent and accepted."""
        return self.accepted == self.intended


def run(task: Task) -> Outcome:
    """Offer the whole schedule and wait for the answers."""
    raise_descriptor_limit()
    now_s = int(time.time())
    tokens = {
        user: mint(task.secret.encode(), subject=str(user), now_s=now_s, ttl_s=3600)
        for user in range(_FIRST_USER, task.users + 1)
    }
    heads = {
        user: f"{submission_head(f'{HOST}:{task.port}', token)}Content-Length: ".encode()
        for user, token in tokens.items()
    }
    # Those who gain, and after them those who are refused.
    gaining = (task.users - _FIRST_USER) // (1 if task.changing == 1 else 2)

    def choose(number: int) -> tuple[int, int]:
        if number % task.changing == 0:
            return _FIRST_USER + number // task.changing % gaining, 1
        return _FIRST_USER + gaining + number % gaining, -1

    def request(_number: int, user: int, increment: int) -> bytes:
        body = SUBMISSION_BODY % (user, increment)
        return b"%b%d\r\n\r\n%b" % (heads[user], len(body), body)

    start_ns = time.monotonic_ns() + int(_LEAD_S * NS)
    to_unix_ns = time.time_ns() - time.monotonic_ns()
    schedule = list(
        arrivals(
            parse_profile(f"{task.rate}x{task.warm_up_s + task.duration_s}"),
            seed=task.seed,
            poisson=True,
        )
    )
    submitter = Submitter(
        SubmitterSettings(address=(HOST, task.port), start_ns=start_ns, zero_ns=start_ns),
        iter(schedule),
        choose,
        request,
    )
    drive(
        [submitter],
        lambda: submitter.finished,
        timeout_s=_LEAD_S + task.warm_up_s + task.duration_s + 15,
    )
    _, done = submitter.take_records()
    series = submitter.series
    submitter.close()
    if task.times:
        due = dict(schedule)
        with Path(task.times).open("wb") as file:
            for number, _, _, name, _ in done:
                if name is not None and due[number] >= task.warm_up_s * NS:
                    due_us = (start_ns + due[number] + to_unix_ns) // 1000
                    file.write(bytes.fromhex(name.decode().replace("-", "")))
                    file.write(due_us.to_bytes(8, "little"))
    response = series.merged("response", start=int(task.warm_up_s))
    late = series.merged("late", start=int(task.warm_up_s))
    return Outcome(
        intended=len(schedule),
        accepted=series.total("ok"),
        refused=series.total("fail"),
        unknown=series.total("unknown"),
        dropped=series.total("dropped"),
        p50_ms=response.value_at(0.5) / 1000,
        p99_ms=response.value_at(0.99) / 1000,
        late_p99_ms=late.value_at(0.99) / 1000,
        cpu_s=time.process_time(),
    )


if __name__ == "__main__":
    answer_task(Task, run)
