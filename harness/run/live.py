"""The terminal view of a run in progress: one block of lines, redrawn in place.

On anything but a terminal it writes a line when the phase changes, so a log of
CI stays short.
"""

import contextlib
import shutil
import time
from typing import TextIO

from harness.measure.figures import PERCENTILES
from harness.measure.histogram import Histogram
from harness.measure.terminal import Ink, duration, number, sparkline
from harness.run.coordinator import Coordinator

RECENT_S = 5


class LiveView:
    """Draws a coordinator's run."""

    def __init__(self, coordinator: Coordinator, out: TextIO) -> None:
        self._coordinator = coordinator
        self._out = out
        self._ink = Ink(out)
        self._lines = 0
        self._phase = ""
        self._started = time.monotonic()

    def draw(self) -> None:
        """Redraw the current state, where the output takes it."""
        with contextlib.suppress(OSError):
            self._draw()

    def _draw(self) -> None:
        if not self._out.isatty():
            if self._coordinator.phase != self._phase:
                self._phase = self._coordinator.phase
                self._out.write(f"{time.monotonic() - self._started:6.1f} s  {self._phase}\n")
                self._out.flush()
            return
        self.clear()
        width = shutil.get_terminal_size().columns
        lines = self._block(width)
        self._out.write("\n".join(lines) + "\n")
        self._out.flush()
        self._lines = len(lines)

    def clear(self) -> None:
        """Erase the block."""
        if self._lines:
            self._out.write(f"\x1b[{self._lines}A\x1b[0J")
            self._lines = 0

    def _block(self, width: int) -> list[str]:
        coordinator, ink = self._coordinator, self._ink
        settings = coordinator.settings
        begin = coordinator.begin_second
        elapsed = time.time() - coordinator.zero_unix_ns / 1e9 - begin if begin else 0.0
        total = settings.warmup_s + settings.duration_s
        if begin and settings.duration_s:
            share = min(1.0, max(0.0, elapsed / total))
            bar_width = max(10, min(40, width - 40))
            done = int(share * bar_width)
            bar = "━" * done + ink.dim("━" * (bar_width - done))
            head = f"  {coordinator.phase:12} {bar} {max(0, min(elapsed, total)):3.0f}/{total:g} s"
        else:
            head = f"  {coordinator.phase:12}"
        seconds = coordinator.series.seconds
        newest = max((n for n, s in seconds.items() if s.counters.get("intended")), default=0)
        recent = range(newest - RECENT_S, newest)
        lines = [ink.bold(head)]
        sent = [seconds[n].counters.get("ok", 0) for n in range(begin, newest) if n in seconds]
        if sent:
            response = Histogram.union(
                seconds[n].histograms["response"] for n in recent if n in seconds
            )
            bad = sum(coordinator.series.total(name) for name in ("fail", "unknown", "dropped"))
            lines.append(
                f"  accepted     {number(sum(sent[-RECENT_S:]) / min(len(sent), RECENT_S)):>7}/s  "
                f"{ink.dim(sparkline([float(v) for v in sent]))}"
                + (ink.warn(f"  {number(bad)} not accepted") if bad else "")
            )
            lines.append(f"  response     {_quantiles(response)}")
        pools = coordinator.fleet.listener_statuses
        if pools:
            lag = Histogram.union(seconds[n].histograms["lag"] for n in recent if n in seconds)
            faults = sum(
                int(s.get(name, 0)) for s in pools for name in ("missing", "duplicates", "reorders")
            )
            lines.append(
                f"  listeners    {number(coordinator.fleet.connected):>7} open"
                + (ink.bad(f"  {number(faults)} gaps, duplicates, reorders") if faults else "")
            )
            if lag.total:
                lines.append(f"  lag          {_quantiles(lag)}")
        return [_clip(line, width) for line in lines]


def _quantiles(histogram: Histogram) -> str:
    return "   ".join(
        f"{percentile.label} {duration(histogram.at(percentile.quantile)):>7}"
        for percentile in PERCENTILES
        if percentile.live
    )


def _clip(line: str, width: int) -> str:
    # Colour codes have no width, so a line may have more characters than columns.
    return line if len(line) < width + 40 else line[: width + 39]
