"""The peers: each an honest implementation, tuned as its users would."""

CHANNEL = "scores"
"""The Redis channel that the peers subscribe to."""
