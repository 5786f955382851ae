"""One load run under Locust: coordinator, Locust users, the roles of processes, the result.

The measuring itself is in `engines`, the judgement in `checker`; programs that start whole
runs, one or many, are in `sessions`.
"""
