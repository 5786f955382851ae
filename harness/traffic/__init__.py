"""The traffic of a run: who submits what and when, and how a scenario shapes it.

Decides and builds; the engines send, and `harness.run` leads.
"""
