"""Wrong clocks of an API or a worker, by libfaketime: a jump, a drift.

Proven by the `Date` of the process's own answers, which has whole seconds: only an error that
no rounding explains is one.
"""

import asyncio
import contextlib
import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime

from harness.chaos.faults import Heal, Injected
from harness.lab.faults.hosts import restarted
from harness.lab.system import Lab, faketime
from harness.lab.topology import API_PORT, APIS, HOSTS, METRICS_PORT

SHOWN_WITHIN_S = 10.0
"""How long a wrong clock may take to show: the file is read anew each second, and a drift grows."""
LEAST_ERROR_S = 0.5


async def clock_jumps(lab: Lab, outcome: Injected) -> Heal:
    """The clock of an API or worker jumps while it runs."""
    jump_s = 4 if outcome.planned.target in APIS else 20
    sign = 1 if outcome.planned.number % 2 else -1
    return await _wrong_clock(lab, outcome, f"{sign * jump_s:+d}", sign)


async def clock_drifts(lab: Lab, outcome: Injected) -> Heal:
    """The clock of an API or worker runs a quarter too fast."""
    return await _wrong_clock(lab, outcome, "+0 x1.25", 1)


async def _wrong_clock(lab: Lab, outcome: Injected, says: str, sign: int) -> Heal:
    name = outcome.planned.target
    file = lab.folder / f"{name}.clock"
    file.write_text("+0\n", "utf-8")
    lab.overrides[name] = {
        "LD_PRELOAD": str(faketime()),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_NO_CACHE": "0",
    }
    await restarted(lab, name)
    file.write_text(f"{says}\n", "utf-8")

    async def heal() -> None:
        deadline = time.monotonic() + SHOWN_WITHIN_S
        while outcome.proof is None and time.monotonic() < deadline:
            off_s = await asyncio.to_thread(_clock_error, name)
            if off_s is not None and off_s * sign > LEAST_ERROR_S:
                outcome.proof = f"the clock of {name} was at least {off_s:+.1f} s off"
            await asyncio.sleep(0.2)
        lab.overrides.pop(name)
        await restarted(lab, name)

    return heal


def _clock_error(name: str) -> float | None:
    """By how much the process's clock is off at least, as its answer shows; None without one."""
    port = API_PORT if name in APIS else METRICS_PORT
    before_s = time.time()
    with contextlib.suppress(OSError):
        try:
            answer = urllib.request.urlopen(f"http://{HOSTS[name]}:{port}/healthz", timeout=3)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return least_error_s(answer.headers["Date"], before_s, time.time())
    return None


def least_error_s(date: str, before_s: float, after_s: float) -> float:
    """The smallest error of a clock that wrote this `Date` between two moments: 0 when it may have
    been right. A `Date` stands for the whole second that begins with it."""
    shown_s = parsedate_to_datetime(date).timestamp()
    if shown_s > after_s:
        return shown_s - after_s
    return min(0.0, shown_s + 1 - before_s)
