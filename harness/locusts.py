"""Locust users of a load run for load test files: a stable address.

The code is in `harness.run.locust_users`.
"""

from harness.run.locust_users import Flood, Swarm

__all__ = ["Flood", "Swarm"]
