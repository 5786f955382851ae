"""Reads of the board: pages, ranks, outcomes and players. Never writes it."""
