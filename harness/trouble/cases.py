"""What a trouble is, and the list of them. Not the troubles themselves."""

import shutil
from collections.abc import Callable
from typing import NamedTuple

from harness.trouble.stage import Stage
from harness.trouble.verdicts import Must, Said


class CannotPlant(Exception):
    """This machine lacks what the trouble needs; the message says what."""


class Trouble(NamedTuple):
    """One trouble: its name, what must come of it, and the function that plants it."""

    planted: str
    must: Must
    play: Callable[[Stage], Said]


TROUBLES: list[Trouble] = []
GOOD_RUN = "valid, correct, within SLO"


def trouble(
    planted: str, *, exit: int, says: str, verdict: str = "", shows_traceback: bool = False
) -> Callable[[Callable[[Stage], Said]], Callable[[Stage], Said]]:
    """Adds a function to the list. `verdict` is that of the result, if one must be left."""

    def add(play: Callable[[Stage], Said]) -> Callable[[Stage], Said]:
        must = Must(exit=exit, says=says, verdict=verdict, shows_traceback=shows_traceback)
        TROUBLES.append(Trouble(planted=planted, must=must, play=play))
        return play

    return add


def need(program: str) -> None:
    """Raises CannotPlant where a program is missing."""
    if shutil.which(program) is None:
        raise CannotPlant(f"{program} is not installed")
