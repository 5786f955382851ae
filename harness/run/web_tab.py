"""A tab of our own in Locust's web UI: verdict, lag, accounting, and the report to open.

Locust's tables show milliseconds of requests; what matters here are connections,
exact percentiles and correctness.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import urljoin

from flask import Response, request, send_file

from harness.measure.figures import HEADLINES, LISTENER_ACCOUNT, PERCENTILES
from harness.measure.histogram import Histogram
from harness.measure.slo import is_default
from harness.measure.terminal import duration, number
from harness.report.page import SIGNS, render
from harness.report.run_view import measured_words
from harness.run import web_form
from harness.run.coordinator import Coordinator
from harness.run.web_form import COLUMN, REPORT_PATH

KEY = "scoreboard"
WORDS = {"true": "yes", "false": "no", "unknown": "could not tell"}
WIDTHLESS = str.maketrans("01", "\u200c\u200d")
COLUMNS = (("name", COLUMN), ("value", "Value"), *((p.key, p.label) for p in PERCENTILES))


def install(web_ui: Any, coordinator: Coordinator) -> None:
    """Add the tab to Locust's web UI and the report's address to its server; change its form."""
    web_form.install(web_ui)
    web_ui.template_args |= {
        "extended_tabs": [{"title": "Scoreboard", "key": KEY}],
        "extended_tables": [
            {"key": KEY, "structure": [{"key": key, "title": title} for key, title in COLUMNS]}
        ],
    }

    @web_ui.app.after_request
    def add_rows(response: Response) -> Response:
        if request.path == "/stats/requests" and response.is_json:
            address = urljoin(request.url_root, REPORT_PATH)
            data = {
                **(response.get_json() or {}),
                "extended_stats": [
                    {"key": KEY, "data": in_order(rows(coordinator, report=address))}
                ],
            }
            response.set_data(json.dumps(data))
        return response

    @web_ui.app.route(REPORT_PATH)
    def report() -> Any:
        path = coordinator.result_path
        if path is not None and coordinator.judgement is not None:
            return send_file(path.with_suffix(".html"))
        return progress_page(coordinator)


def progress_page(coordinator: Coordinator) -> str:
    """What the tab shows, as a page that stands at the report's address until there is one."""
    kinds = [(key, "text" if key == "value" else "") for key, _ in COLUMNS[1:]]
    if coordinator.problem:
        state = f"The run ended without a result: {coordinator.problem}"
    else:
        state = f"{coordinator.phase.capitalize()}; the report stands here when the run has ended."
    return render(
        "progress.html",
        title="Load run",
        about=state,
        heads=[("Figure", ""), *((dict(COLUMNS)[key], kind) for key, kind in kinds)],
        rows=[
            (row["name"], [(row[key], kind) for key, kind in kinds]) for row in rows(coordinator)
        ],
    )


def rows(coordinator: Coordinator, *, report: str = REPORT_PATH) -> Iterator[dict[str, str]]:
    """The table: verdict and phase, what was counted, then durations so far."""
    if coordinator.problem:
        yield _row("not run", f"{SIGNS['false']} {coordinator.problem}")
    yield from _verdict(coordinator, report)
    yield _row("phase", coordinator.phase)
    series = coordinator.series
    for counter, title in (
        ("intended", "intended"),
        ("ok", "accepted"),
        ("fail", "refused (4xx)"),
        ("unknown", "outcome unknown"),
        ("dropped", "dropped, never sent"),
    ):
        yield _row(f"submissions: {title}", number(series.total(counter)))
    statuses = coordinator.fleet.listener_statuses
    yield _row("listeners: connected", number(coordinator.fleet.connected))
    yield _row("listeners: events delivered", number(series.total("deliveries")))
    for name, title in LISTENER_ACCOUNT.items():
        count = sum(int(status.get(name, 0)) for status in statuses)
        yield _row(f"listeners: {title}", number(count))
    for figure in HEADLINES:
        if histogram := coordinator.so_far.get(figure.name):
            yield _row(figure.label, figure.meaning, histogram)


def in_order(rows: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """The rows with names that Locust, which sorts by them, leaves in this order.

    What comes first in each name has no width: a joiner is a one, a non-joiner a zero.
    """
    return [
        {**row, "name": f"{place:06b}".translate(WIDTHLESS) + row["name"]}
        for place, row in enumerate(rows)
    ]


def _verdict(coordinator: Coordinator, report: str) -> Iterator[dict[str, str]]:
    verdict = coordinator.judgement
    if verdict is None:
        return
    yield _row("good", _told(str(verdict.outcome), []))
    yield _row("report", report)
    yield _row("valid", _told("true" if verdict.valid else "false", verdict.invalid))
    yield _row("correct", _told(str(verdict.correctness), verdict.incorrect))
    if all(is_default(result.limit.text) for result in verdict.limits):
        yield _row("SLO", "no SLO given")
    for result in verdict.limits:
        measured = measured_words(result.limit, result.measured)
        if result.verdict == "unknown":
            measured = "not enough samples"
        elif is_default(result.limit.text):
            measured += " (default limit)"
        yield _row(f"SLO {result.limit.text}", f"{SIGNS[result.verdict]} {measured}")


def _told(verdict: str, reasons: Sequence[str]) -> str:
    words = "; ".join(reasons)
    return f"{SIGNS[verdict]} {WORDS[verdict]}" + (f": {words}" if words else "")


def _row(name: str, value: str, histogram: Histogram | None = None) -> dict[str, str]:
    cells = {
        percentile.key: duration(histogram.at(percentile.quantile)) if histogram else ""
        for percentile in PERCENTILES
    }
    return {"name": name, "value": value, **cells}
