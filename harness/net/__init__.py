"""Sockets and wire formats: HTTP requests, event streams, readiness, the fault proxy, the target.

Moves and parses bytes. What the bytes mean for a run is decided in `engines` and above.
"""
