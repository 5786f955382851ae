"""Time and memory of reading events by the form of their ids, and by how a stream is framed.

    python -m benchmarks.stream_forms --write RESULTS.md

Whatever ids say and however bytes are cut, an event must cost the harness about as much, and no
memory that the server chooses. Each form is read in a process of its own, 100,000 events by ten
listeners. Not a test of a server: the bytes are made here; `tests/harness/test_lawful_servers.py`
judges servers that speak so.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.cpu import rss_bytes
from harness.engines.by_content.deliveries import ContentDeliveries
from harness.engines.span_figures import SpanFigures
from harness.measure.machine import commit_of, fingerprint
from harness.measure.series import Series
from harness.net.stream_framing import framer_of
from harness.report.results_document import keep_section

SECTION = "stream-forms"
"""The name of the section in RESULTS.md and of the file kept for it."""
EVENTS, BATCH, LISTENERS, USERS = 100_000, 100, 10, 1000
Spell = Callable[[bytes], bytes]
_MS = 1_764_000_000_000
IDS: dict[str, Callable[[int], bytes]] = {
    "no ids": lambda _: b"",
    "gapless": lambda n: b"id: %d\n" % n,
    "one of 10^17": lambda n: b"id: %d\n" % (10**17 if n == EVENTS // 2 else n),
    "milliseconds": lambda n: b"id: %d\n" % (_MS + 3 * n),
    "snowflakes": lambda n: b"id: %d\n" % ((1 << 60) + (n << 22)),
    "negative": lambda n: b"id: -%d\n" % n,
    "Redis ids": lambda n: b"id: %d-0\n" % (_MS + n),
    "UUIDs": lambda n: b"id: %b\n" % str(uuid.UUID(int=n)).encode(),
}


def _chunk(text: bytes, extension: bytes = b"") -> bytes:
    return b"%X%b\r\n%b\r\n" % (len(text), extension, text)


def _as_is(text: bytes) -> bytes:
    return text


def _mixed(text: bytes) -> bytes:
    """Line ends of all three kinds, in turn."""
    lines = text.split(b"\n")[:-1]
    ends = (b"\n", b"\r\n", b"\r", b"\r\n")
    return b"".join(line + ends[n % len(ends)] for n, line in enumerate(lines))


def _respelt(text: bytes) -> bytes:
    """No space after colons, unknown fields, and data over two lines."""
    return text.replace(b"event: ", b"foo: bar\nevent:").replace(
        b',"score":', b'\ndata: ,"score" :'
    )


def _deflated() -> Spell:
    deflate = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return lambda text: deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH)


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How a stream is told: fields of its head, the spelling of events, the pack of a write.

    `cut`: bytes per read, 0 for a whole write.
    """

    head: bytes = b"Transfer-Encoding: chunked\r\n"
    begin: bytes = b""
    spell: Spell = _as_is
    packer: Callable[[], Spell] = lambda: _chunk
    cut: int = 0


_UNTIL_CLOSE, _PLAIN = b"Connection: close\r\n", lambda: _as_is
FRAMINGS: dict[str, Framing] = {
    "chunks": Framing(),
    "chunks with extensions": Framing(packer=lambda: lambda text: _chunk(text, b';a="b c"')),
    "pieces of 16 bytes": Framing(cut=16),
    "until close": Framing(head=_UNTIL_CLOSE, packer=_PLAIN),
    "of a told length": Framing(head=b"Content-Length: 1000000000\r\n", packer=_PLAIN),
    "CRLF": Framing(spell=lambda text: text.replace(b"\n", b"\r\n")),
    "CR": Framing(spell=lambda text: text.replace(b"\n", b"\r")),
    "line ends mixed": Framing(spell=_mixed),
    "byte order mark, comments, other event types": Framing(
        begin=b"\xef\xbb\xbf: hello\n\n",
        spell=lambda text: b": beat\n\nevent: presence\ndata: {}\n\n" + text,
    ),
    "other spelling, two data lines": Framing(spell=_respelt),
    "scores as decimals": Framing(spell=lambda text: text.replace(b"}\n", b".0}\n")),
    "ordinary gzip": Framing(head=b"Content-Encoding: gzip\r\n" + _UNTIL_CLOSE, packer=_deflated),
    "gzip members": Framing(
        head=b"Content-Encoding: gzip\r\n" + _UNTIL_CLOSE,
        packer=lambda: lambda text: gzip.compress(text, mtime=0),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Reading a form: µs of CPU per event for all listeners, MiB grown over all events."""

    kind: str
    form: str
    us_per_event: float
    mib: float


def read(kind: str, form: str) -> Cost:
    """Read all events of a form in this process. Raises ValueError when not every one was read."""
    make = IDS[form] if kind == "ids" else IDS["no ids"]
    framing = FRAMINGS[form] if kind == "framing" else FRAMINGS["chunks"]
    head = b"HTTP/1.1 200 OK\r\n%b\r\n" % framing.head
    framers = [framer_of(head, own_gzip=True) for _ in range(LISTENERS)]
    pack = framing.packer()
    accounts = ContentDeliveries(LISTENERS, limit=2 * EVENTS)
    figures = SpanFigures(Series(), accounts.table, start_unix_ns=0, by_content=True)
    for index in range(LISTENERS):
        accounts.opened(index)
    before = _resident_mib()
    spent_ns = 0
    begin = framing.begin
    for start in range(1, EVENTS + 1, BATCH):
        text = begin + b"".join(
            framing.spell(
                b'%bevent: update\ndata: {"user":"User%05d","score":%d}\n\n'
                % (make(n), n % USERS, n)
            )
            for n in range(start, start + BATCH)
        )
        begin = b""
        written = pack(text)
        step = framing.cut or len(written)
        reads = [written[at : at + step] for at in range(0, len(written), step)]
        began = time.thread_time_ns()
        for data in reads:
            for index, framer in enumerate(framers):
                for payload in framer.feed(data):
                    span, _ = figures.span_of(payload, 0)
                    if accounts.deliver(index, span, 1):
                        span.arrived.append(1)
                        span.noticed.append(1)
        figures.settle(now_unix_ns=0, listeners=LISTENERS)
        accounts.take_records()
        spent_ns += time.thread_time_ns() - began
    if accounts.table.end != EVENTS or accounts.delivered != EVENTS * LISTENERS:
        raise ValueError(f"{form}: {accounts.delivered} of {EVENTS * LISTENERS} were delivered")
    return Cost(
        kind=kind,
        form=form,
        us_per_event=spent_ns / 1000 / EVENTS,
        mib=_resident_mib() - before,
    )


def _resident_mib() -> float:
    return rss_bytes([os.getpid()]) / 2**20


def document(costs: list[Cost], machine: Mapping[str, Any]) -> dict[str, Any]:
    """All that was read."""
    return {"version": 1, "machine": dict(machine), "costs": [asdict(cost) for cost in costs]}


def markdown(document: Mapping[str, Any], file: str) -> str:
    """The section of RESULTS.md; `file` is where the figures are kept."""
    machine = document["machine"]
    costs = [Cost(**cost) for cost in document["costs"]]
    lines = [
        "## Event ids and framings of all makes: memory per event",
        "",
        f"`python -m benchmarks.stream_forms --write RESULTS.md` at commit {commit_of(machine)},"
        f" {machine['cpus']} × {machine['cpu']}: {EVENTS:,} events read by {LISTENERS} listeners,"
        " by content, each form in a process of its own. What grows is content and times of the"
        " events, whose number the offered load bounds; servers that speak so are acquitted by"
        f" `tests/harness/test_lawful_servers.py`. Result file: [`{file}`]({file}).",
        "",
        "| ids or framing | µs of CPU per event | MiB grown | bytes per event |",
        "|---|--:|--:|--:|",
    ]
    for cost in costs:
        shown = f"ids: {cost.form}" if cost.kind == "ids" else cost.form
        each = cost.mib * 2**20 / EVENTS
        lines.append(f"| {shown} | {cost.us_per_event:.1f} | {cost.mib:.1f} | {each:.0f} |")
    return "\n".join(lines)


def main() -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream_forms", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into RESULTS.md")
    parser.add_argument("--only", nargs=2, metavar=("KIND", "FORM"), help="one form, as JSON")
    asked = parser.parse_args()
    if asked.only is not None:
        print(json.dumps(asdict(read(*asked.only))))
        return 0
    costs = []
    for kind, forms in (("ids", IDS), ("framing", FRAMINGS)):
        for form in forms:
            words = (sys.executable, "-m", "benchmarks.stream_forms", "--only", kind, form)
            said = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout
            costs.append(Cost(**json.loads(said)))
            print(
                f"{form:<46}{costs[-1].us_per_event:>8.1f} µs{costs[-1].mib:>8.1f} MiB", flush=True
            )
    if asked.write is not None:
        found = document(costs, fingerprint())
        keep_section(asked.write, SECTION, found, lambda file: markdown(found, file))
    return 0


if __name__ == "__main__":
    sys.exit(main())
