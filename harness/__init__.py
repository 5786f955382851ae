"""The measuring engine: a black box towards the server. HTTP in, SSE out.

Looking into MySQL, Redis or the process table is an optional extra source for a
verdict, never a condition.
"""
