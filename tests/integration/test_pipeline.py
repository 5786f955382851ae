"""A batch from workflow start to the stream, on real services."""

from tests.support.pipeline import Pipeline, submission


async def test_a_batch_reaches_ledger_ranking_and_stream(pipeline: Pipeline) -> None:
    await pipeline.run(submission(1, 10), submission(2, 200), submission(99, 5))

    assert await pipeline.rows("SELECT id, score FROM users ORDER BY id") == [(1, 1510), (2, 1600)]
    outcomes = await pipeline.rows("SELECT outcome, seq FROM ledger ORDER BY seq")
    assert outcomes == [("unknown_user", None), ("applied", 1), ("applied", 2)]
    assert await pipeline.ranking() == [(2, 1600), (1, 1510)]
    assert [(change.seq, change.name, change.score) for change in await pipeline.streamed()] == [
        (1, "Alice", 1510),
        (2, "Bob", 1600),
    ]


async def test_the_same_submission_in_two_batches_counts_once(pipeline: Pipeline) -> None:
    once = submission(1, 10)

    await pipeline.run(once)
    await pipeline.run(once)

    assert await pipeline.rows("SELECT score FROM users WHERE id = 1") == [(1510,)]
