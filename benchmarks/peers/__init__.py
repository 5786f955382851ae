"""Scoreboard beside other ways to do the same, measured in interleaved rounds of one run."""
