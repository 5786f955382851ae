"""Temporal workflows: the order of the steps and how each is repeated.

Deterministic and replayed, so nothing here reads a clock or does I/O. Not what a
step does: see `worker.activities`.
"""
