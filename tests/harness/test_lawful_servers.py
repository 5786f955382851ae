"""Servers that keep the specification in their own way are measured, and acquitted.

All run side by side, a moment each: what counts is the verdict, not the figures.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.checker import Verdict, overall
from harness.net.preflight import preflight
from harness.net.target import Target
from harness.sessions.trial import Trial, run_trial
from tests.support.lawful_server import FRAMINGS, IDS, LAWFUL, LawfulServer, lawful_servers

RATE, SECONDS, LISTENERS = 60, 1.0, 3
GZIP = {"ordinary gzip", "gzip members until close"}


@pytest.fixture(scope="module")
def trials() -> Iterator[dict[str, tuple[Trial, LawfulServer]]]:
    def run(server: LawfulServer) -> Trial:
        target = Target(base_url=server.url, secret=b"0" * 32)
        shown = preflight(target, token="t", stream_token="")
        return run_trial(
            server.url,
            rate=str(RATE),
            seconds=SECONDS,
            listeners=LISTENERS,
            capabilities=shown,
        )

    with lawful_servers(LAWFUL) as servers, ThreadPoolExecutor(len(servers)) as pool:
        done = pool.map(run, servers.values())
        yield {
            name: (trial, server)
            for (name, server), trial in zip(servers.items(), done, strict=True)
        }


def test_matrix_has_a_dozen_framings_and_seven_forms_of_ids() -> None:
    assert len(FRAMINGS) >= 12
    assert len(IDS) >= 7


@pytest.mark.parametrize("name", LAWFUL)
def test_lawful_server_is_acquitted(
    trials: dict[str, tuple[Trial, LawfulServer]], name: str
) -> None:
    trial, server = trials[name]

    assert overall(trial.findings) is Verdict.TRUE
    doubts = {f.verdict for f in trial.findings} - {Verdict.TRUE, Verdict.NOT_ASKED}
    assert doubts == set()
    assert server.events == RATE * SECONDS
    assert trial.series.total("ok") == RATE * SECONDS


def test_ids_are_sent_back_as_the_server_sent_them(
    trials: dict[str, tuple[Trial, LawfulServer]],
) -> None:
    _, server = trials["resumed as sent"]

    assert server.resumed
    assert {text.rpartition(b"-")[0] for text in server.resumed} == {"é".encode()}
