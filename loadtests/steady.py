"""The open-loop scenario: submissions on a schedule, and listeners that check every event.

    locust -f loadtests/                 web form on port 8089, against the running stack
    make load                            the same without a browser, with a verdict

One user of each class carries the whole load of its process (`--rate`, `--listeners`).
Override `choose` to shape the traffic (`docs/load-testing.md`, "Your own scenario").
"""

from harness.locusts import ListenerPool, OpenLoopSubmitters


class Submitters(OpenLoopSubmitters):
    """Submits at the given rate whatever the server does, each time for one of `--players`."""


class Listeners(ListenerPool):
    """Holds `--listeners` streams open and checks every event id on each of them."""
