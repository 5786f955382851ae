"""`python -m stack.temporal_cluster`: builds the server, which takes minutes; prints its path.

With `--built` it builds nothing: exit status 0 says that a cluster can start at once.
"""

import sys

from stack.temporal_cluster.program import SERVER, is_built

if __name__ == "__main__":
    if sys.argv[1:] == ["--built"]:
        sys.exit(0 if is_built() else 1)
    print(SERVER.built())
