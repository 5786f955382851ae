"""Settings of a run for load test files: a stable address.

The code is in `harness.measure.settings`.
"""

from harness.measure.settings import RunSettings, read_signing_key, settings_from, signing_key

__all__ = ["RunSettings", "read_signing_key", "settings_from", "signing_key"]
