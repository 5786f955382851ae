"""A tab of our own in Locust's web UI: verdict, lag, accounting, and the report to open.

Locust's tables show milliseconds of requests; what matters here are connections,
exact percentiles and correctness.
"""

import json
from collections.abc import Iterator
from typing import Any

from flask import Response, redirect, request, send_file

from harness.measure.histogram import Histogram
from harness.measure.terminal import duration, number
from harness.run.coordinator import Conductor
from harness.run.result import LISTENER_ACCOUNT

KEY = "scoreboard"
REPORT_PATH = "/scoreboard/report"
QUANTILES = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (1.0, "max"))
ROWS = (
    ("response", "response, from the intended send"),
    ("service", "service, from the actual send"),
    ("late", "generator's own delay"),
    ("lag", "delivery lag, commit to listener"),
    ("reach_last", "lag of the last listener of each event"),
    ("connect", "stream connect"),
)


def install(web_ui: Any, conductor: Conductor) -> None:
    """Add the tab to Locust's web UI and the report's address to its server."""
    titles = (("name", "Figure"), ("value", "Value"), *((label, label) for _, label in QUANTILES))
    web_ui.template_args |= {
        "extended_tabs": [{"title": "Scoreboard", "key": KEY}],
        "extended_tables": [
            {"key": KEY, "structure": [{"key": k, "title": title} for k, title in titles]}
        ],
    }

    @web_ui.app.after_request
    def add_rows(response: Response) -> Response:
        if request.path == "/stats/requests" and response.is_json:
            data = {
                **(response.get_json() or {}),
                "extended_stats": [{"key": KEY, "data": list(rows(conductor))}],
            }
            response.set_data(json.dumps(data))
        return response

    @web_ui.app.route(REPORT_PATH)
    def report() -> Any:
        if conductor.result_path is None:
            return redirect("./")
        return send_file(conductor.result_path.with_suffix(".html"))


def rows(conductor: Conductor) -> Iterator[dict[str, str]]:
    """The table: the state of the run, what was counted, then durations so far."""
    # Locust sorts by name, so the names begin with their group.
    yield _row("run: phase", conductor.problem or conductor.phase)
    record = conductor.record
    if record is not None:
        verdict = record.verdict
        for word, good, problems in (
            ("valid", verdict.valid, verdict.invalid),
            ("correct", verdict.correct, verdict.incorrect),
            (
                "within SLO",
                verdict.within_slo,
                [kept.limit.text for kept in verdict.limits if not kept.kept],
            ),
        ):
            yield _row(f"run: {word}", "yes" if good else "no: " + "; ".join(problems))
        yield _row("run: report", REPORT_PATH)
    series = conductor.series
    for counter, title in (
        ("intended", "intended"),
        ("ok", "accepted"),
        ("fail", "refused (4xx)"),
        ("unknown", "outcome unknown"),
        ("dropped", "dropped, never sent"),
    ):
        yield _row(f"submissions: {title}", number(series.total(counter)))
    statuses = [m.status for m in conductor.members.values() if m.kind == "swarm" and m.status]
    yield _row("listeners: connected", number(conductor.connected))
    yield _row("listeners: events delivered", number(series.total("deliveries")))
    for name in LISTENER_ACCOUNT:
        yield _row(
            f"listeners: {name}", number(sum(int(status.get(name, 0)) for status in statuses))
        )
    for name, title in ROWS:
        yield _row(f"times: {title}", "", conductor.so_far[name])


def _row(name: str, value: str, histogram: Histogram | None = None) -> dict[str, str]:
    cells = {
        label: duration(histogram.at(quantile)) if histogram is not None else ""
        for quantile, label in QUANTILES
    }
    return {"name": name, "value": value, **cells}
