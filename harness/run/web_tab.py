"""A tab of our own in Locust's web UI: verdict, lag, accounting, and the report to open.

Locust's tables show milliseconds of requests; what matters here are connections,
exact percentiles and correctness.
"""

import json
from collections.abc import Iterator
from typing import Any

from flask import Response, request, send_file

from harness.measure.figures import HEADLINES, LISTENER_ACCOUNT, PERCENTILES
from harness.measure.histogram import Histogram
from harness.measure.terminal import duration, number
from harness.report.page import SIGNS, render
from harness.report.run_view import measured_words
from harness.run.coordinator import Coordinator

KEY = "scoreboard"
REPORT_PATH = "/scoreboard/report"
COLUMNS = (("name", "Figure"), ("value", "Value"), *((p.key, p.label) for p in PERCENTILES))


def install(web_ui: Any, coordinator: Coordinator) -> None:
    """Add the tab to Locust's web UI and the report's address to its server."""
    web_ui.template_args |= {
        "extended_tabs": [{"title": "Scoreboard", "key": KEY}],
        "extended_tables": [
            {"key": KEY, "structure": [{"key": key, "title": title} for key, title in COLUMNS]}
        ],
    }

    @web_ui.app.after_request
    def add_rows(response: Response) -> Response:
        if request.path == "/stats/requests" and response.is_json:
            data = {
                **(response.get_json() or {}),
                "extended_stats": [{"key": KEY, "data": list(rows(coordinator))}],
            }
            response.set_data(json.dumps(data))
        return response

    @web_ui.app.route(REPORT_PATH)
    def report() -> Any:
        path = coordinator.result_path
        if path is not None and coordinator.record is not None:
            return send_file(path.with_suffix(".html"))
        return progress_page(coordinator)


def progress_page(coordinator: Coordinator) -> str:
    """What the tab shows, as a page that stands at the report's address until there is one."""
    state = coordinator.problem or coordinator.phase
    values = ((r["name"], [(r[key], "") for key, _ in COLUMNS[1:]]) for r in rows(coordinator))
    return render(
        "progress.html",
        title="Load run",
        about=f"{state}: the report stands here when the run ends",
        heads=[(title, "") for _, title in COLUMNS],
        rows=list(values),
    )


def rows(coordinator: Coordinator) -> Iterator[dict[str, str]]:
    """The table: verdict and phase, what was counted, then durations so far."""
    # Locust sorts by name, so numbers keep the verdict first.
    yield _row("1 run: phase", coordinator.problem or coordinator.phase)
    yield from _verdict(coordinator)
    series = coordinator.series
    for counter, title in (
        ("intended", "intended"),
        ("ok", "accepted"),
        ("fail", "refused (4xx)"),
        ("unknown", "outcome unknown"),
        ("dropped", "dropped, never sent"),
    ):
        yield _row(f"2 submissions: {title}", number(series.total(counter)))
    statuses = [m.status for m in coordinator.members.values() if m.kind == "swarm" and m.status]
    yield _row("3 listeners: connected", number(coordinator.connected))
    yield _row("3 listeners: events delivered", number(series.total("deliveries")))
    for name, title in LISTENER_ACCOUNT.items():
        count = sum(int(status.get(name, 0)) for status in statuses)
        yield _row(f"3 listeners: {title}", number(count))
    for figure in HEADLINES:
        yield _row(f"4 {figure.label}: {figure.meaning}", "", coordinator.so_far.get(figure.name))


def _verdict(coordinator: Coordinator) -> Iterator[dict[str, str]]:
    record = coordinator.record
    if record is None:
        return
    verdict = record.verdict
    for word, good, problems in (
        ("valid", verdict.valid, verdict.invalid),
        ("correct", verdict.correct, verdict.incorrect),
    ):
        yield _row(f"0 {word}", f"{SIGNS['true']} yes" if good else "✗ no: " + "; ".join(problems))
    for result in verdict.limits:
        measured = measured_words(result.limit, result.measured)
        if result.verdict == "unknown":
            measured = "not enough samples"
        yield _row(f"0 SLO {result.limit.text}", f"{SIGNS[result.verdict]} {measured}")
    if not verdict.limits:
        yield _row("0 SLO", "none given")
    yield _row("0 report", REPORT_PATH)


def _row(name: str, value: str, histogram: Histogram | None = None) -> dict[str, str]:
    cells = {
        percentile.key: duration(histogram.at(percentile.quantile)) if histogram else ""
        for percentile in PERCENTILES
    }
    return {"name": name, "value": value, **cells}
