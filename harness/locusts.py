"""Locust users of a load run for load test files: a stable address.

The code is in `harness.run.locust_users`; importing this sets Locust up for a run.
"""

import harness.run.locust_setup  # noqa: F401  # listens to Locust's events
from harness.run.locust_users import ListenerPool, OpenLoopSubmitters
from harness.traffic.hooks import http_request

Flood = OpenLoopSubmitters
Swarm = ListenerPool
"""Earlier names, for scenarios that use them."""

__all__ = ["Flood", "ListenerPool", "OpenLoopSubmitters", "Swarm", "http_request"]
