"""The peers: each an honest implementation, tuned as its users would."""
