"""Every command by name: where it is, and its line in the list of commands. Imports none of them.

The list must not wait for the imports of the commands, and Locust has to patch the process before
anything imports `ssl`.
"""

from typing import NamedTuple

RUN = "Run a server"
USE = "Use a server"
MEASURE = "Measure and judge a server"
COMPARE = "Compare, benchmark, publish"


class Entry(NamedTuple):
    """`place` is `module:attribute` of a click command."""

    place: str
    about: str
    panel: str

    @property
    def program(self) -> str:
        """The package behind it, which also runs it as `python -m <package>`."""
        return self.place.partition(".")[0]


COMMANDS: dict[str, Entry] = {
    "up": Entry("stack.commands:up", "start every service and stay until Ctrl-C", RUN),
    "down": Entry("stack.commands:down", "stop what `up` runs", RUN),
    "status": Entry("stack.commands:status", "print what is running, as JSON", RUN),
    "token": Entry("stack.commands:token", "print a token for a user", RUN),
    "cluster": Entry("harness.cli.lab.commands:cluster", "run several hosts (root)", RUN),
    "players": Entry(
        "scoreboard_client.player_commands:players", "add, rename, remove, merge players", RUN
    ),
    "review": Entry(
        "scoreboard_client.review_commands:review", "list and decide held submissions", RUN
    ),
    "replay": Entry("stack.replay_command:replay", "bring back from Temporal what MySQL lost", RUN),
    "submit": Entry("scoreboard_client.commands:submit", "add points to a user", USE),
    "outcome": Entry(
        "scoreboard_client.commands:outcome", "print what became of a submission", USE
    ),
    "top": Entry("scoreboard_client.commands:top", "print the board", USE),
    "follow": Entry(
        "scoreboard_client.commands:follow", "print every change of the board as it happens", USE
    ),
    "sign": Entry(
        "scoreboard_client.commands:sign_request", "sign a submission for curl (RFC 9421)", USE
    ),
    "load": Entry(
        "harness.cli.load:load", "load a server with submissions and listeners; verdict", MEASURE
    ),
    "target": Entry(
        "harness.cli.target.commands:target", "describe a server that is not as specified", MEASURE
    ),
    "capacity": Entry(
        "harness.cli.capacity:capacity", "find the greatest load that stays within limits", MEASURE
    ),
    "chaos": Entry(
        "harness.cli.chaos:chaos", "inject faults under load, then check every promise", MEASURE
    ),
    "check": Entry(
        "harness.cli.check:check_history", "judge the history of a finished run", MEASURE
    ),
    "selfproof": Entry(
        "harness.cli.self_test:selfproof", "plant faults and see whether each is reported", MEASURE
    ),
    "compare": Entry(
        "harness.cli.compare:compare_results", "say whether one load result is worse", COMPARE
    ),
    "export": Entry(
        "harness.cli.export:export", "a load result as JUnit, CSV, Prometheus, JSON …", COMPARE
    ),
    "bench": Entry("harness.cli.bench:bench", "run the regression benchmarks (pytest)", COMPARE),
    "bench-compare": Entry(
        "harness.cli.bench_compare:bench_compare", "compare this checkout with a revision", COMPARE
    ),
    "bench-peers": Entry(
        "harness.cli.bench:bench_peers", "compare with alternative designs", COMPARE
    ),
    "counts": Entry(
        "harness.cli.counts:counts", "count what a submission costs the databases", COMPARE
    ),
    "nullserver": Entry(
        "harness.cli.null_server:nullserver",
        "serve the API from memory, with planted faults",
        COMPARE,
    ),
    "results": Entry("harness.cli.results:results", "write RESULTS.md from result files", COMPARE),
}
