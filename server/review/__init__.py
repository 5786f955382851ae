"""Held submissions and their end: the cases as a reviewer lists them, and what is decided."""
