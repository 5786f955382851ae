"""Programs made of load runs: one run with its Locust processes, capacity search, self-test.

Starts and ends processes and stacks. What happens inside one run is `harness.run`.
"""
