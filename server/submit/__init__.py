"""From the bytes of a submission to a started workflow: parse, admit, group-commit.

Applying a submission is the worker's business.
"""
