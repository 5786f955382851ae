"""Regression benchmarks of pure code and of the hub; run with `make bench`."""
