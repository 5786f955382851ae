"""Traffic that was recorded: who submitted when, and how much, read from a file and played again.

Not the rate profiles of `harness.measure.schedule`.
"""
