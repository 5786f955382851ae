"""Literal servers keep the specification's words, and a plain client sees each of their lies."""

from pathlib import Path

import pytest

from benchmarks.peers.literal.lies import LIES
from benchmarks.peers.literal.start import HERE, LANGUAGES, Literal, missing, serving
from stack.errors import StartFailed
from tests.benchmarks.plain_client import INCREMENTS, OBSERVED, Client
from tests.support.eventually import eventually
from tests.support.programs import need

pytestmark = pytest.mark.parametrize("language", LANGUAGES)


@pytest.fixture(autouse=True)
def program(language: str) -> None:
    need(not missing(language), missing(language))


async def run(server: Literal, *, lie: str) -> None:
    async with Client(server) as client:
        await client.submit_all()

        async def noticed() -> bool:
            return OBSERVED[lie](await client.look())

        await eventually(noticed)


async def test_honest_server_shows_every_submission_once_and_nothing_else(language: str) -> None:
    with serving(language, users=12) as server:
        async with Client(server) as client:
            assert await client.scores() == [
                {"user": "Alice", "score": 1500},
                {"user": "Bob", "score": 1400},
                *({"user": row["user"], "score": 0} for row in (await client.scores())[2:]),
            ]
            assert len(await client.scores()) == 10

            await client.submit_all()
            seen = client.seen
            await eventually(lambda: [len(lines) for lines in seen.streams] == [16, 16])
            await client.look()

            assert set(seen.statuses.values()) == {200}
            assert seen.streams[0] == seen.streams[1]
            assert [gain for _, gain in seen.gains()] == list(INCREMENTS)
            assert seen.board_is_right
            assert [lie for lie, observed in OBSERVED.items() if observed(seen)] == []
            assert server.lies() == []


async def test_answers_are_the_specifications(language: str) -> None:
    with serving(language, users=12, environ={"RATE_LIMIT": "1000"}) as server:
        async with Client(server) as client:
            accepted = (200, {"message": "Score update request submitted"})
            good = {"userId": 3, "increment": 10}

            assert await client.post(3, good) == accepted
            assert (await client.post(3, good, token=False))[0] == 401
            assert (await client.post(3, good, secret="x" * 64))[0] == 401
            assert (await client.post(4, good))[0] == 403
            assert (await client.post(3, {}))[0] == 400
            assert (await client.post(3, [1]))[0] == 400
            assert (await client.post(3, {"userId": 3, "increment": 0}))[0] == 400
            assert (await client.post(13, {"userId": 13, "increment": 1}))[0] == 404
            assert await client.post(3, {"userId": 3, "increment": -4}) == accepted

            await eventually(lambda: client.seen.events(0) == [("User00003", 10), ("User00003", 6)])


async def test_rate_limit_refuses_what_exceeds_it(language: str) -> None:
    with serving(language, users=12, environ={"RATE_LIMIT": "2"}) as server:
        async with Client(server) as client:
            await client.submit_all()

            assert set(client.seen.statuses.values()) == {200, 429}
            await eventually(lambda: len(client.seen.streams[0]) == len(client.seen.accepted))


@pytest.mark.parametrize("lie", LIES)
async def test_lie_is_seen_by_a_plain_client(language: str, lie: str) -> None:
    with serving(language, users=12, lies=[lie], lie_every=5) as server:
        await run(server, lie=lie)

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

    assert "unknown lies: never-heard-of" in refused.value.log_tail


def test_every_lie_is_named_in_its_source(language: str) -> None:
    sources = {"python": ["server.py", "lies.py"], "node": ["server.mjs"]}
    names = sources.get(language, ["go/contract/lies.go"])
    text = "".join(Path(HERE, name).read_text() for name in names)

    assert [lie for lie in LIES if f'"{lie}"' not in text] == []
