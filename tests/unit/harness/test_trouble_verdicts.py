"""What a command said about a trouble, held against what it must say."""

import pytest

from harness.report.document import LoadResult
from harness.trouble.verdicts import Must, Said, judged, sentence, verdict_words
from tests.unit.harness.documents import decoded, run_document


@pytest.mark.parametrize(
    ("correctness", "told"),
    [
        ({"correct": True}, "valid, correct, within SLO"),
        ({"correct": False, "correctness": "unknown"}, "valid, correctness unknown, within SLO"),
        ({"correct": False, "correctness": "false"}, "valid, not correct, within SLO"),
    ],
)
def test_verdict_is_told_in_three_words(correctness: dict[str, object], told: str) -> None:
    verdict = {**run_document()["verdict"], **correctness}

    assert verdict_words(decoded(LoadResult, run_document(verdict=verdict))) == told


def test_no_document_is_no_result() -> None:
    assert verdict_words(None) == "no result"


@pytest.mark.parametrize(
    ("exit_code", "text", "held"),
    [
        (3, "error: gone away", True),
        (1, "error: gone away", False),
        (3, "all is well", False),
        (3, "Traceback (most recent call last):\nerror: gone away", False),
    ],
)
def test_trouble_holds_if_exit_code_and_sentence_are_right(
    exit_code: int, text: str, held: bool
) -> None:
    row = judged("a trouble", Must(exit=3, says="gone"), Said(exit=exit_code, text=text), seconds=1)

    assert row.held is held


def test_a_traceback_of_the_users_own_code_may_be_shown() -> None:
    must = Must(exit=3, says="gone", shows_traceback=True)

    assert judged("", must, Said(exit=3, text="Traceback\ngone"), seconds=1).held


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("first\nerror: no server\nlast", "no server"),
        ("first\n\x1b[31m✗ gone\x1b[0m\nlast", "gone"),
        ("[2026-11-28 01:18:21] vm/ERROR/harness.run: gone: process 12 of vm", "gone: process …"),
        ("/tmp/a-b/c.json is gone", "c.json is gone"),
        ("POST /scores/update is gone", "POST /scores/update is gone"),
        (
            "gone\nTraceback (most recent call last):\n"
            '  File "/a/b.py", line 3, in outer\n    f()\n'
            '  File "/a/c.py", line 9, in inner\n    g()\n    ^^^\nOSError: no room\nlast',
            "Traceback: OSError: no room in inner",
        ),
        ("first\nlast", "last"),
        ("", "nothing"),
    ],
)
def test_sentence_is_the_one_asked_for_without_what_differs(text: str, told: str) -> None:
    assert sentence(text, Must(exit=1, says="gone")) == told
