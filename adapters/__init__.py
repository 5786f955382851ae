"""I/O that the server and the worker share: connections, logging, tracing, tasks, files.

Imports only `scoreboard`. It knows how to reach a service and what that service
raises, not what to ask of it: queries and scripts belong to the process that
runs them. The harness is a black box and imports none of this.
"""
