"""Stock Locust against the same stall: what a closed model reports. Not part of the engine.

Twenty users keep their own pace, as Locust's documentation shows it. While the
server stalls each of them waits for one answer and sends nothing, so the
requests that real users would have made meanwhile are never made nor measured.
"""

import os

from locust import FastHttpUser, constant_throughput, task

from scoreboard import contract

RATE_PER_USER = float(os.environ.get("STOCK_RATE_PER_USER", "25"))


class StockUser(FastHttpUser):
    """Posts a submission at its own pace."""

    wait_time = constant_throughput(RATE_PER_USER)

    @task
    def submit(self) -> None:
        """One submission."""
        self.client.post(contract.UPDATE_PATH, json={"userId": 1, "increment": 1})
