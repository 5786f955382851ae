"""Literal servers keep the specification's words, and a plain client sees each of their lies."""

import pytest

from benchmarks.peers.literal.lies import LIES
from benchmarks.peers.literal.start import HERE, LANGUAGES, missing, serving
from stack.errors import StartFailed
from tests.benchmarks.plain_client import (
    INCREMENTS,
    Client,
    answering,
    honest,
    limiting,
    lying,
)
from tests.support.programs import need

pytestmark = pytest.mark.parametrize("language", LANGUAGES)
SOURCES = {
    "python": ("server.py", "lies.py"),
    "node": ("server.mjs",),
    "go": ("go/contract/lies.go", "go/contract/stream.go", "go/memory/main.go"),
}


@pytest.fixture(autouse=True)
def program(language: str) -> None:
    need(not missing(language), missing(language))


async def test_honest_server_shows_every_submission_once_and_nothing_else(language: str) -> None:
    with serving(language, users=12) as server:
        await honest(server)


async def test_answers_are_the_specifications(language: str) -> None:
    with serving(language, users=12, environ={"RATE_LIMIT": "1000"}) as server:
        await answering(server)


async def test_rate_limit_refuses_what_exceeds_it(language: str) -> None:
    with serving(language, users=12, environ={"RATE_LIMIT": "2"}) as server:
        await limiting(server)


@pytest.mark.parametrize("lie", LIES)
async def test_lie_is_seen_by_a_plain_client(language: str, lie: str) -> None:
    with serving(language, users=12, lies=[lie], lie_every=5) as server:
        await lying(server, lie)

        told = [] if LIES[lie].standing else [lie] * 3
        assert [each["lie"] for each in server.lies()] == told


async def test_several_lies_take_turns(language: str) -> None:
    lies = ["shown-twice", "never-shown", "refused-but-applied"]
    with serving(language, users=12, lies=lies, lie_every=5) as server:
        async with Client(server) as client:
            await client.submit_all()

        assert [each["lie"] for each in server.lies()] == lies
        assert [each["increment"] for each in server.lies()] == [
            str(INCREMENTS[place]) for place in (4, 9, 14)
        ]


def test_unknown_lie_is_refused(language: str) -> None:
    with (
        pytest.raises(StartFailed) as refused,
        serving(language, lies=["never-heard-of"]),
    ):
        pass

    # One line, and no trace of the program's own.
    [line] = refused.value.log_tail.strip().splitlines()
    assert line.endswith("unknown lies: never-heard-of")


def test_every_lie_is_named_in_its_source(language: str) -> None:
    text = "".join((HERE / name).read_text("utf-8") for name in SOURCES[language])

    assert [lie for lie in LIES if f'"{lie}"' not in text] == []
