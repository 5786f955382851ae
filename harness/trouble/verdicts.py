"""What a command must say about a trouble, what it said, and whether that is the same. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from harness.report.document import LoadResult, TroubleCase
from harness.report.run_view import correctness, slo_rows, within_slo

SAID_CHARACTERS = 140
NO_RESULT = "no result"
UNKNOWN_EXIT = 124
"""Of a command that had to be stopped because it did not end."""
_TRACEBACK = re.compile(
    r"Traceback .*\n(?:[ \t].*\n)*[ \t]+File \S*, line \d+, in (\S+)\n(?:[ \t].*\n)*(\S.*)"
)
"""The innermost function, and the error."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LOGGED = re.compile(r"^\[[^\]]*\] \S+: ")
_PROCESS = re.compile(r"process \d+ of \S+")
_PATH = re.compile(r"(?:/[\w.@-]+){2,}/(?=[\w.-])")
_GAP = re.compile(r" {2,}")


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a command ended: its exit code, all it printed, and the result it left."""

    exit: int
    text: str
    document: LoadResult | None = None


@dataclass(frozen=True, kw_only=True)
class Must:
    """What a command must end with. `verdict` is empty for a command that judges no run."""

    exit: int
    says: str
    verdict: str = ""
    shows_traceback: bool = False
    """Of the user's own code, where that is what broke."""

    @property
    def words(self) -> str:
        """For the table."""
        return "; ".join(filter(None, (self.verdict, f"“{self.says}”" if self.says else "")))


def verdict_words(document: LoadResult | None) -> str:
    """The three answers of a result, as `valid, correctness unknown, within SLO`."""
    if document is None:
        return NO_RESULT
    words = {
        "true": "correct",
        "false": "not correct",
        "unknown": "correctness unknown",
    }[correctness(document)]
    valid = "valid" if document.verdict.valid else "not valid"
    limits = {
        "true": "within SLO",
        "false": "not within SLO",
        "unknown": "SLO unknown",
    }[within_slo(slo_rows(document))]
    return f"{valid}, {words}, {limits}"


def judged(planted: str, must: Must, said: Said, *, seconds: float) -> TroubleCase:
    """A row of the table."""
    verdict = verdict_words(said.document) if must.verdict else ""
    held = (
        said.exit == must.exit
        and verdict == must.verdict
        and must.says in said.text
        and (must.shows_traceback or "Traceback" not in said.text)
    )
    return TroubleCase(
        planted=planted,
        must_say=must.words,
        must_exit=must.exit,
        said="; ".join(filter(None, (verdict, sentence(said.text, must)))),
        exit=said.exit,
        held=held,
        seconds=round(seconds, 1),
    )


def sentence(text: str, must: Must) -> str:
    """The line that has what must be said; without one, the first error or the last line."""
    broke = None if must.shows_traceback else _TRACEBACK.search(text)
    lines = [line.strip() for line in _COLOUR.sub("", text).splitlines() if line.strip()]
    if not lines:
        return "nothing"
    checks: tuple[Callable[[str], bool], ...] = (
        lambda line: bool(must.says) and must.says in line,
        lambda line: line.startswith("error:"),
    )
    found = next((line for check in checks for line in lines if check(line)), lines[-1])
    if broke is not None:
        # What broke and where; the line that names a traceback tells nobody anything.
        found = f"Traceback: {broke[2]} in {broke[1]}"
    # What differs from run to run says nothing.
    found = _PATH.sub("", _PROCESS.sub("process …", _LOGGED.sub("", found)))
    found = _GAP.sub(": ", found.lstrip("✓✗? ").removeprefix("error: "))
    return found if len(found) <= SAID_CHARACTERS else found[: SAID_CHARACTERS - 1] + "…"
