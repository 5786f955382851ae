"""Plays every trouble, some side by side, and makes the result document."""

import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.measure.machine import fingerprint
from harness.report.document import Machine, TroubleCase, TroubleResult
from harness.trouble import in_files, in_locust, in_runs
from harness.trouble.cases import TROUBLES, CannotPlant, Trouble
from harness.trouble.stage import NeverHappened, stage
from harness.trouble.verdicts import Said, judged

SIDE_BY_SIDE = 4
"""They wait more than they compute."""
MODULES = [module.__name__ for module in (in_runs, in_locust, in_files)]
ALL = sorted(TROUBLES, key=lambda trouble: MODULES.index(trouble.play.__module__))
"""Those that wait longest come first."""


def play(trouble: Trouble) -> TroubleCase:
    """Plant one trouble and judge what came of it. Raises CannotPlant."""
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="trouble-") as folder,
        stage(Path(folder).resolve()) as place,
    ):
        try:
            said = trouble.play(place)
        except NeverHappened as error:
            said = Said(exit=-1, text=f"error: {error}")
    return judged(trouble.planted, trouble.must, said, seconds=time.monotonic() - began)


def chosen(only: str) -> list[Trouble]:
    """The troubles whose name has this text."""
    return [trouble for trouble in ALL if only.lower() in trouble.planted.lower()]


def prove_trouble(
    troubles: Iterable[Trouble],
    *,
    side_by_side: int = SIDE_BY_SIDE,
    tell: Callable[[TroubleCase], None] = lambda _: None,
) -> TroubleResult:
    """All of them, as a document. `tell` hears of each in the order of the list."""
    began = time.time()
    rows: list[TroubleCase] = []
    not_planted: list[str] = []
    with ThreadPoolExecutor(side_by_side) as pool:
        for trouble, future in [(t, pool.submit(play, t)) for t in troubles]:
            try:
                rows.append(future.result())
            except CannotPlant as error:
                not_planted.append(f"{trouble.planted}: {error}")
            else:
                tell(rows[-1])
    return TroubleResult(
        started_unix_s=began,
        machine=Machine(**fingerprint()),
        troubles=rows,
        not_planted=not_planted,
        good=bool(rows) and all(row.held for row in rows),
    )
