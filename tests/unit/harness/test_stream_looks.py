"""What the preflight finds out about servers that speak in lawful but different ways."""

from collections.abc import Iterator

import pytest

from harness.capabilities import Capabilities, EventIds, Framing, StreamGzip
from harness.net import stream_look
from harness.net.preflight import preflight
from harness.net.target import Target
from tests.support.lawful_server import LAWFUL, LawfulServer, lawful_servers

CHOSEN = (
    *("chunks", "until close", "told length", "http 1.0", "interim answers", "odd heads"),
    *("late head", "ordinary gzip", "cr", "milliseconds with a sequence header"),
)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, LawfulServer]]:
    with lawful_servers({name: LAWFUL[name] for name in CHOSEN}) as started:
        yield started


def looked_at(server: LawfulServer, *, stream_gzip: bool = False) -> Capabilities:
    target = Target(base_url=server.url, secret=b"0" * 32)
    return preflight(target, token="t", stream_token="", stream_gzip=stream_gzip)


def test_server_of_the_specification_shows_nothing_beyond_it(
    servers: dict[str, LawfulServer],
) -> None:
    shown = looked_at(servers["chunks"])

    assert shown == Capabilities(
        sequence_header=False,
        page_rows=10,
        limit=False,
        offset=False,
        stream_http="1.1",
        stream_framing=Framing.CHUNKED,
        early_head=True,
    )
    assert not shown.follows_ids


@pytest.mark.parametrize(
    ("name", "http", "framing"),
    [
        ("until close", "1.1", Framing.CLOSE),
        ("told length", "1.1", Framing.LENGTH),
        ("http 1.0", "1.0", Framing.CLOSE),
        ("interim answers", "1.1", Framing.CHUNKED),
        ("odd heads", "1.1", Framing.CHUNKED),
        ("cr", "1.1", Framing.CLOSE),
    ],
)
def test_every_lawful_framing_is_recognised(
    servers: dict[str, LawfulServer], name: str, http: str, framing: Framing
) -> None:
    shown = looked_at(servers[name])

    assert (shown.stream_http, shown.stream_framing, shown.early_head) == (http, framing, True)


def test_stream_without_a_head_before_its_first_event_is_no_failure(
    servers: dict[str, LawfulServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_look, "HEAD_S", 0.1)

    assert looked_at(servers["late head"]).early_head is False


def test_ordinary_gzip_is_recognised_and_its_cost_measured(
    servers: dict[str, LawfulServer],
) -> None:
    shown = looked_at(servers["ordinary gzip"], stream_gzip=True)

    assert shown.stream_gzip is StreamGzip.ORDINARY
    assert shown.gzip_us_per_event is not None
    assert shown.gzip_kib_per_listener is not None


def test_sequence_header_alone_does_not_make_ids_the_numbers_of_changes(
    servers: dict[str, LawfulServer],
) -> None:
    shown = looked_at(servers["milliseconds with a sequence header"])

    assert shown.sequence_header is True
    assert shown.event_ids is EventIds.UNSEEN
    assert not shown.follows_ids
