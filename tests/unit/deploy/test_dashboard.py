"""The Grafana dashboard asks only for metrics that exist, and for all that matter."""

import json
import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import REGISTRY

from server.observe.counts import CommitCounts, HubCounts
from server.observe.metrics import Gauges, Metrics, Source
from worker import metrics as worker_metrics

DASHBOARD = Path(__file__).parents[3] / "deploy/grafana/scoreboard.json"
NAME = re.compile(r"\b(?:scoreboard|process)_[a-z0-9_]+")
SUFFIX = re.compile(r"_(?:bucket|count|sum|total)$")


async def exposed() -> set[str]:
    """Every family that API processes and workers show, as named in queries."""

    async def board_seq() -> int:
        return 7

    metrics = Metrics(
        Source(
            commits=CommitCounts(),
            hub=HubCounts(),
            gauges=lambda: Gauges(
                queue=0,
                queue_max=1,
                batches_unfinished=0,
                batches_unfinished_max=1,
                listeners=0,
                listeners_max=1,
                listeners_lagging=0,
                hub_seq=0,
                undecided_age_s=0.0,
                queue_polled=True,
            ),
            services=lambda: {"mysql": True},
            board_seq=board_seq,
            draining=lambda: False,
            fast_path=lambda: 0,
        )
    )
    assert worker_metrics.STEP_SECONDS in REGISTRY._collector_to_names
    text = (await metrics.exposition()).decode()
    return {SUFFIX.sub("", family.name) for family in text_string_to_metric_families(text)}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def queries() -> list[str]:
    panels = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    return found + [v["definition"] for v in dashboard()["templating"]["list"] if "definition" in v]


async def test_every_metric_that_the_dashboard_names_exists() -> None:
    named = {SUFFIX.sub("", name) for query in queries() for name in NAME.findall(query)}

    assert len(named) > 25
    assert named - await exposed() == set()


async def test_every_metric_of_ours_is_on_the_dashboard() -> None:
    named = {SUFFIX.sub("", name) for query in queries() for name in NAME.findall(query)}
    ours = {name for name in await exposed() if name.startswith("scoreboard_")}

    # Creation times come with every counter; whether one is draining shows in its listeners.
    assert {n for n in ours - named if not n.endswith("_created")} == {"scoreboard_draining"}


def test_counters_are_shown_as_rates() -> None:
    bare = [
        query
        for query in queries()
        if re.search(r"_(?:total|bucket)\b", query) and not re.search(r"rate\(|increase\(", query)
    ]

    assert bare == []


def test_panels_have_places_of_their_own() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids)) > 25
