"""The measuring engine: a black box towards any server with the same HTTP contract."""
