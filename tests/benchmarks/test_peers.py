"""Every measure of the peers runs once, tiny; answers are verified.

On services that all measures of a process share, as in a whole run of the peers.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from benchmarks.peers import centrifugo, nginx
from benchmarks.peers.backends import Backends, open_backends
from benchmarks.peers.literal.start import missing
from benchmarks.peers.measures import beside, everyday
from benchmarks.peers.run import GROUPS, TINY, Recorder
from harness.net.sockets import raise_descriptor_limit
from tests.support.programs import need

FIGURES = {
    "submissions": {
        "submissions/ours",
        "submissions/direct",
        "submissions/ceiling",
        "submissions/literal",
        "submissions/ours with keys",
    },
    "loaded": {
        *("loaded/answer p99", "loaded/answer p50", "loaded/to last p99"),
        *(f"loaded/direct, no listeners/{figure}" for figure in everyday.FIGURES),
    },
    "idle": {"idle/ours", "idle/literal"},
    "beside": {
        *("beside/ours/throughput", "beside/literal/throughput"),
        *(
            f"beside/{name}/{case}/{figure}"
            for name in ("ours", "literal")
            for case in ("undisturbed", "worker killed")
            for figure in beside.FIGURES
        ),
    },
    "everyday": {
        f"everyday 50/{name}/{figure}"
        for name in ("ours", "direct", "redis", "ceiling", "literal")
        for figure in everyday.FIGURES
    },
    "capacity": {"capacity/redis"},
    "fairness": {
        "fairness/2 hostile connections/not accepted",
        *(
            f"fairness/{case}/{figure}"
            for case in ("undisturbed", "2 hostile connections")
            for figure in everyday.FIGURES
        ),
    },
    "streams": {
        f"streams {rate}/{name}"
        for rate in (100, 1000)
        for name in (
            *("ours-stream", "nchan", "queue", "sse-starlette"),
            *(["centrifugo"] if centrifugo.is_built() else []),
        )
    },
    "crowd": {
        f"{name}/{figure}"
        for name in ("crowd", "crowd, all change")
        for figure in ("lag p99", "cores", "KiB per listener")
    },
    "reads": {"reads/ours", "reads/constant"},
    "growth": {
        "listeners/10",
        "listeners/30",
        *(
            f"growth/{size}{keys}{figure}"
            for size in ("1,000 users", "3,000 users, 2,000 rows")
            for keys in ("", ", with keys")
            for figure in ("", ", bytes")
        ),
    },
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backends(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backends]:
    raise_descriptor_limit()
    async with open_backends(tmp_path_factory.mktemp("peers")) as opened:
        yield opened


def test_each_group_is_run_here() -> None:
    assert FIGURES.keys() == GROUPS.keys()


@pytest.mark.parametrize("group", GROUPS)
async def test_a_group_gives_its_figures(group: str, backends: Backends) -> None:
    if group in ("submissions", "idle", "beside", "everyday"):
        need(not missing("fiber"), missing("fiber"))
    if group == "streams":
        need(nginx.available(), "nginx with nchan, or apt-get to fetch it")
    recorder = Recorder(lambda _: None)

    await GROUPS[group](backends, TINY, 1, recorder)

    assert recorder.samples.keys() == FIGURES[group]
    for name in ("ours", "literal"):
        for run in recorder.details[f"beside/{name}/undisturbed/rate"]:
            assert run["verdict"] == "correct", run
    # So few samples have no percentile in a tiny run of `scoreboard load`.
    told = {n: v for n, (v,) in recorder.samples.items() if not n.endswith(("p50_ms", "p90_ms"))}
    assert all(value is not None and value >= 0 for value in told.values()), told
