"""Recorded histories of the workflows, and their replay by the code as it is now."""
