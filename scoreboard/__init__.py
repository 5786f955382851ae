"""The shared core: domain rules and the contract between processes.

Pure: nothing here reads a clock, a socket, a random source or the environment;
callers pass those in. Server, worker and harness import this package and never
each other.
"""

__version__ = "0.1.0"
"""Of all that this repository contains. Packaging and the OpenAPI document read it here."""
