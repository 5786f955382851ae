"""Benchmarks run tiny, so that none rots. They show that a figure comes out, not which."""
