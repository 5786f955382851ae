"""The summary of a load run on a terminal: the same columns with colours and without."""

import io
import re
from pathlib import Path

import pytest

from harness.measure.terminal import Ink
from harness.report.document import LoadResult
from harness.report.result_files import read_result_as
from harness.report.summary import lines

RESULT = Path(__file__).parents[3] / "docs" / "results" / "load.json"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_move_no_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    document = read_result_as(RESULT, LoadResult)
    coloured, plain = Ink(Terminal()), Ink(io.StringIO())

    shown = list(lines(document, coloured, "run.json"))

    assert any("\x1b[" in line for line in shown)
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in shown] == list(
        lines(document, plain, "run.json")
    )
