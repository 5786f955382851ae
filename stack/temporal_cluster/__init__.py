"""A private Temporal of several processes, as it runs in production: each role of the server apart,
its data in PostgreSQL, and nothing made on demand.

`make up` with SCOREBOARD_TEMPORAL_SERVER=cluster runs it in place of the development server. Slower
to start, and its program takes minutes to build: for tests, chaos and load runs that ask for it.
"""

from stack.temporal_cluster.cluster import Cluster
from stack.temporal_cluster.program import is_built, lacking

__all__ = ["Cluster", "is_built", "lacking"]
