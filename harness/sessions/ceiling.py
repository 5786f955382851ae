"""How much the generator itself can do on this machine: its own ceiling, on a null server.

A figure close to the ceiling is the generator's, not the server's; so the
ceiling stands beside every result. Measured on a schedule that is too fast for
it, with everything that a real run does per request.
"""

import contextlib
import time
from pathlib import Path

import msgspec

from harness.engines.standalone import drive, null_server
from harness.engines.submitter import Submitter, SubmitterSettings
from harness.measure.machine import fingerprint
from harness.net.http_wire import SubmissionRequests, parse_base_url
from harness.report.document import Ceiling, Machine
from harness.report.result_files import CEILING_FILE, write_whole

NS = 1_000_000_000
CONNECTIONS = 64
PLAYERS = 100
OVERLOAD_PER_S = 25_000
"""More than one Python process can send, so it always has something to do."""
MEASURE_S = 2.0
FRESH_S = 24 * 3600


class KeptCeiling(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept between runs."""

    machine: Machine
    ceiling: Ceiling


def measure_ceiling(seconds: float = MEASURE_S) -> Ceiling:
    """Saturate one sender for that long. Raises OSError when no null server starts."""
    with null_server(players=PLAYERS) as (url, _):
        host, port, header = parse_base_url(url)
        requests = SubmissionRequests(
            host_header=header,
            # As long as a real token.
            tokens=dict.fromkeys(range(1, PLAYERS + 1), "t" * 220),
            run_id="ceiling",
        )
        start = time.monotonic_ns() + NS // 4
        total = int(OVERLOAD_PER_S * seconds)
        sender = Submitter(
            SubmitterSettings(
                address=(host, port), start_ns=start, zero_ns=start, connections=CONNECTIONS
            ),
            ((number, number * NS // OVERLOAD_PER_S) for number in range(total)),
            lambda number: (1 + number % PLAYERS, 1),
            requests.make,
        )
        try:
            drive([sender], lambda: time.monotonic_ns() >= start, timeout_s=5)
            cpu, clock = time.process_time(), time.monotonic()
            drive([sender], lambda: time.monotonic() >= clock + seconds, timeout_s=seconds + 1)
            cpu, clock = time.process_time() - cpu, time.monotonic() - clock
            answered = sender.series.total("ok")
        finally:
            sender.close()
    if not answered:
        raise OSError("the null server answered nothing")
    return Ceiling(
        per_core=answered / cpu,
        achieved=answered / clock,
        us_per_request=cpu / answered * 1e6,
        measured_unix_s=time.time(),
    )


def known_ceiling(folder: Path) -> Ceiling:
    """The ceiling measured on this machine and commit within a day, else measure it now."""
    path = folder / CEILING_FILE
    machine = Machine(**fingerprint())
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=KeptCeiling)
        if kept.machine == machine and time.time() - kept.ceiling.measured_unix_s < FRESH_S:
            return kept.ceiling
    except (OSError, msgspec.MsgspecError):
        # None yet, or one of another version: measure.
        pass
    ceiling = measure_ceiling()
    # A full disk costs the next run two seconds, not this one its load.
    with contextlib.suppress(OSError):
        write_whole(path, msgspec.json.encode(KeptCeiling(machine=machine, ceiling=ceiling)))
    return ceiling
