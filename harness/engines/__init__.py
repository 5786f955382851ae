"""The two load engines, open-loop submissions and listener swarms, and what they count.

Also a standalone loop to drive them without Locust and a null server to drive them against.
Who starts them, and how results from several processes are joined, is `harness.run`.
"""
