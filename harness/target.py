"""The server under test for load test files: a stable address.

The code is in `harness.net.target`.
"""

from harness.net.target import Target, TargetError, find_target

__all__ = ["Target", "TargetError", "find_target"]
