"""Regression benchmarks of two revisions side by side, and counts of work per submission.

Compares code with code on this machine; load on a running server is `harness.sessions`.
"""
