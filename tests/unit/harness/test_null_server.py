"""The null server's faults are those asked for and no others."""

from harness.engines.null_server import Faults, NullServer
from scoreboard.domain import Change


def test_a_tick_of_nothing_but_lost_events_leaves_the_stream_open() -> None:
    server = NullServer(users=1, faults=Faults(lose_events=frozenset({1})))
    change = Change(seq=1, user_id=1, name="Alice", score=1, committed_us=1)

    assert server._spoiled([change]) == b""
