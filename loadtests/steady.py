"""The scenario: submissions on a schedule, and listeners that account for every event.

    locust -f loadtests/                 web form on port 8089, against the running stack
    python -m harness load               the same without a browser, with a verdict

One user of each class carries all the load there is (`--rate`, `--listeners`);
more of them only matter on several workers. Edit `choose` to shape the traffic.
"""

from harness.locusts import ListenerPool, OpenLoopSubmitters


class SubmissionFlood(OpenLoopSubmitters):
    """Submits at the rate asked for, in open loop, each for one of `--players` users."""


class ListenerSwarm(ListenerPool):
    """Holds `--listeners` streams open and checks every id on each of them."""
