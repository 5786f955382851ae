"""From the bytes of a submission to a started workflow: parse, admit, group-commit.

Not applying it: that is the worker's job.
"""
