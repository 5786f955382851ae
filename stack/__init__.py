"""Starts, supervises and stops every part of Scoreboard on one machine.

Not for clusters: there the same images run under an orchestrator. This is the only package that
may import `server` and `worker` together.
"""
