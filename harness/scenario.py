"""The scenario of `scoreboard load` where no folder `loadtests/` is at hand. A Locust file."""

from harness.locusts import ListenerPool, OpenLoopSubmitters


class Submitters(OpenLoopSubmitters):
    """Submits at the given rate."""


class Listeners(ListenerPool):
    """Holds the streams open."""
