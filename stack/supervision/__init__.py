"""Keeps every process of the stack running: the supervisor, its control socket, our two programs.

Not how a database is made ready and started: see `stack.services`.
"""
