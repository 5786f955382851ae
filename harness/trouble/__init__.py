"""A harness in trouble: each planted trouble, and the verdict and exit code that it must give.

Runs the harness' own commands as a user does, breaks something meanwhile, and reads what they say.
Not the planted lies of a server, which `harness.sessions.self_test` proves.
"""
