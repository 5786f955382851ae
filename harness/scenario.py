"""The scenario of `scoreboard load` where no folder `loadtests/` is at hand. A Locust file."""

from harness.locusts import ListenerPool, OpenLoopSubmitters


class SubmissionFlood(OpenLoopSubmitters):
    """Submits at the given rate."""


class ListenerSwarm(ListenerPool):
    """Holds the streams open."""
