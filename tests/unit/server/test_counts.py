"""Histograms of integers, and their Prometheus form."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from server.observe.counts import SECONDS, CommitCounts, Histogram, HubCounts
from server.observe.metrics import Gauges, Metrics, Source


def metrics(commits: CommitCounts, *, board_fails: bool = False) -> Metrics:
    async def board_seq() -> int:
        if board_fails:
            raise ConnectionError
        return 12

    return Metrics(
        Source(
            commits=commits,
            hub=HubCounts(),
            gauges=lambda: Gauges(
                **dict.fromkeys(set(Gauges.__struct_fields__) - {"board_seq", "queue_polled"}, 3),
                queue_polled=True,
            ),
            services=lambda: {"mysql": True, "redis": False},
            board_seq=board_seq,
            draining=lambda: True,
            fast_path=lambda: 0,
        )
    )


@given(values=st.lists(st.floats(0, 10)))
def test_each_observation_falls_into_the_first_bucket_that_holds_it(values: list[float]) -> None:
    histogram = Histogram(SECONDS)
    for value in values:
        histogram.observe(value)

    assert sum(histogram.counts) == len(values)
    for place, bound in enumerate(SECONDS):
        assert sum(histogram.counts[: place + 1]) == sum(value <= bound for value in values)


async def test_buckets_for_prometheus_count_all_below_them() -> None:
    commits = CommitCounts()
    for value in (0.0005, 0.003, 0.003, 9.0):
        commits.start_s.observe(value)

    text = (await metrics(commits).exposition()).decode()

    [family] = [
        f for f in text_string_to_metric_families(text) if f.name == "scoreboard_start_seconds"
    ]
    by_bound = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert by_bound["0.001"] == 1
    assert by_bound["0.005"] == by_bound["5.0"] == 3
    assert by_bound["+Inf"] == 4
    assert list(by_bound.values()) == sorted(by_bound.values())
    [total] = [s.value for s in family.samples if s.name.endswith("_sum")]
    assert abs(total - 9.0065) < 1e-9


async def test_metrics_omit_an_unreadable_board_and_show_the_rest() -> None:
    readable = await metrics(CommitCounts()).exposition()
    unreadable = await metrics(CommitCounts(), board_fails=True).exposition()

    assert b"scoreboard_board_seq 12.0" in readable
    assert b"scoreboard_board_seq" not in unreadable
    assert b"scoreboard_hub_seq 3.0" in unreadable
    assert b'scoreboard_service_up{service="redis"} 0.0' in unreadable
