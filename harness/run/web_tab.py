"""A tab of our own in Locust's web UI: verdict, lag, accounting, and the report to open.

Locust's tables show milliseconds of requests; what matters here are connections,
exact percentiles and correctness.
"""

import json
from collections.abc import Iterator
from typing import Any

from flask import Response, redirect, request, send_file

from harness.measure.figures import HEADLINES, LISTENER_ACCOUNT, PERCENTILES
from harness.measure.histogram import Histogram
from harness.measure.terminal import duration, number
from harness.run.coordinator import Conductor

KEY = "scoreboard"
REPORT_PATH = "/scoreboard/report"


def install(web_ui: Any, conductor: Conductor) -> None:
    """Add the tab to Locust's web UI and the report's address to its server."""
    titles = (("name", "Figure"), ("value", "Value"), *((p.key, p.label) for p in PERCENTILES))
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
                [result.limit.text for result in verdict.limits if not result.passed],
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
    for name, title in LISTENER_ACCOUNT.items():
        yield _row(
            f"listeners: {title}", number(sum(int(status.get(name, 0)) for status in statuses))
        )
    for figure in HEADLINES:
        yield _row(f"times: {figure.label} ({figure.meaning})", "", conductor.so_far[figure.name])


def _row(name: str, value: str, histogram: Histogram | None = None) -> dict[str, str]:
    cells = {
        percentile.key: duration(histogram.at(percentile.quantile)) if histogram else ""
        for percentile in PERCENTILES
    }
    return {"name": name, "value": value, **cells}
