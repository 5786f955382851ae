"""The table of lies in the literal servers' README is the one that the servers share."""

from pathlib import Path

from benchmarks.peers.literal.lies import LIES

README = Path(__file__).parents[2] / "benchmarks/peers/literal/README.md"


def test_readme_lists_every_lie_with_its_conviction() -> None:
    text = README.read_text("utf-8")

    rows = [
        f"| `{name}`{' (standing)' * lie.standing} | {lie.does} | {lie.convicted_by} |"
        for name, lie in LIES.items()
    ]
    assert [row for row in rows if row not in text] == []
    assert len(LIES) >= 12
