"""Five readers of HTTP agree on what the server takes; the rest is refused cleanly.

`python -m tests.security.differential` takes a million inputs.
"""

from tests.security.differential import run

INPUTS = 20_000


def test_other_readers_take_or_refuse_what_the_server_takes() -> None:
    counts, finds = run(INPUTS, seed=7, processes=1)

    assert finds == []
    assert counts["inputs"] == INPUTS
    # It is no comparison of refusals alone.
    assert counts["requests taken"] > INPUTS / 2
    assert counts["refused"] > INPUTS / 5
    assert counts["answered on the fast path"] > INPUTS / 50
