"""The Temporal side: one workflow that carries a batch of submissions to its end.

The sole writer of MySQL and of the board in Redis. It serves no HTTP.
"""
