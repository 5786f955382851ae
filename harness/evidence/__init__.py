"""What a run leaves for its judge: the operation history, stream transcripts, database snapshots.

Reads and writes evidence, and never draws a conclusion from it: that is `harness.checker`.
"""
