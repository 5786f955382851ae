"""Watches every attempt at a step: times it, counts failures, logs once why a step keeps failing.

Not how a step is repeated: see `workflows.steps`. Temporal repeats without end and without a word.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from adapters.reasons import reason_of
from worker import metrics

log = structlog.get_logger()

PATIENCE_S = 3.0
"""A step that has only failed for this long is logged."""


@dataclass(slots=True)
class _Failing:
    since: float
    logged: str = ""


class StepWatch(Interceptor):
    """For a worker's `interceptors`; one for all steps."""

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._failing: dict[str, _Failing] = {}

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Called by the SDK for each attempt."""
        return _Watched(next, self)

    @contextmanager
    def attempt(self, step: str) -> Iterator[None]:
        """Around one attempt at a step, inside an activity."""
        with metrics.STEP_SECONDS.labels(step).time():
            try:
                yield
            except Exception as error:
                self._note_failure(step, error)
                raise
        self._note_success(step)

    def _note_failure(self, step: str, error: Exception) -> None:
        metrics.STEP_FAILURES.labels(step).inc()
        now = time.monotonic()
        failing = self._failing.setdefault(step, _Failing(since=now))
        reason = reason_of(error)
        if now - failing.since >= self._patience_s and reason != failing.logged:
            failing.logged = reason
            log.warning(
                "step_keeps_failing",
                step=step,
                error=reason,
                since_s=round(now - failing.since, 1),
                attempt=activity.info().attempt if activity.in_activity() else None,
            )

    def _note_success(self, step: str) -> None:
        failing = self._failing.pop(step, None)
        if failing is not None and failing.logged:
            log.info(
                "step_succeeds_again",
                step=step,
                failed_s=round(time.monotonic() - failing.since, 1),
            )


class _Watched(ActivityInboundInterceptor):
    def __init__(self, following: ActivityInboundInterceptor, watch: StepWatch) -> None:
        super().__init__(following)
        self._watch = watch

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        with self._watch.attempt(activity.info().activity_type):
            return await super().execute_activity(input)
