"""Attacks and fuzzing."""
