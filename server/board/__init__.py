"""Reads of the board: pages, ranks, outcomes and review cases. Never writes it."""
