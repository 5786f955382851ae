"""The record of a run: everything known when it ends, and the figures in it. Not its judgement."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.capabilities import CONTRACT, Capabilities
from harness.engines.delivery_spread import DeliverySpread
from harness.evidence.board_look import Look
from harness.measure.figures import DURATION_NAMES, PERCENTILES
from harness.measure.histogram import Histogram
from harness.measure.series import Series
from harness.measure.settings import RunSettings
from harness.measure.slo import histogram_and_quantile, load_slo
from harness.report.document import Ceiling, Member


@dataclass(kw_only=True)
class RunRecord:
    """Everything known at the end of a run. `begin_second` is the schedule's 0 in the series."""

    run_id: str
    settings: RunSettings
    base_url: str
    machine: dict[str, Any]
    started_unix_s: float
    series: Series
    begin_second: int
    measured_s: int
    members: list[Member]
    spreads: list[DeliverySpread]
    """When events reached listeners, of each listener pool."""
    final_seq: int
    converged: bool
    before: Look
    after: Look
    backlog: list[tuple[int, int]]
    samples: list[dict[str, Any]]
    notes: list[str]
    folder: Path
    capabilities: Capabilities = CONTRACT
    """What the server shows, and the run could therefore ask."""
    ceiling: Ceiling | None = None

    @property
    def window(self) -> tuple[int, int]:
        """First second measured and the one after the last, in the series' numbers."""
        start = self.begin_second + round(self.settings.warmup_s)
        return start, start + max(1, self.measured_s)

    def counter(self, name: str) -> int:
        """A counter over the measured window."""
        start, end = self.window
        return self.series.total(name, start=start, end=end)

    def histogram(self, name: str) -> Histogram:
        """A histogram over the measured window; `connect` over the whole run."""
        if name == "connect":
            return self.series.merged(name)
        start, end = self.window
        return self.series.merged(name, start=start, end=end)

    def figures(self) -> dict[str, float | None]:
        """Every figure that a limit may name. Times in µs, shares 0 to 1, rates per second."""
        figures: dict[str, float | None] = {}
        intended = self.counter("intended")
        seconds = max(1, self.measured_s)
        for name in ("unknown", "dropped", "waited"):
            figures[name] = self.counter(name) / intended if intended else None
        bad = sum(self.counter(name) for name in ("fail", "unknown", "dropped"))
        figures["errors"] = bad / intended if intended else None
        figures["rate"] = intended / seconds
        figures["throughput"] = (self.counter("ok") + self.counter("fail")) / seconds
        figures["goodput"] = self.counter("ok") / seconds
        for name in DURATION_NAMES:
            histogram = self.histogram(name)
            for percentile in PERCENTILES:
                figures[f"{name}_{percentile.key}"] = histogram.at(percentile.quantile)
            figures[f"{name}_mean"] = histogram.mean_us
        for limit in load_slo(self.settings.slo):
            if (asked := histogram_and_quantile(limit.figure)) is not None:
                figures[limit.figure] = self.histogram(asked[0]).at(asked[1])
        return figures
