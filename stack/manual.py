"""Writes docs/configuration.md from the settings themselves, so that it cannot be wrong.

`python -m stack.manual > docs/configuration.md`; a test compares the two.
"""

import sys
from typing import Any

from scoreboard.settings import ServiceSettings, describe
from server.settings import ServerSettings
from worker.settings import WorkerSettings

_HEAD = """# Configuration

Every process reads its settings from the environment, once, and names all faults
together before it connects to anything. Made by `python -m stack.manual`.
"""

_STACK = """
## The stack on one machine (`make up`)

| variable | default | meaning |
|---|---|---|
| `SCOREBOARD_DATA_DIR` | `.scoreboard` | Folder of the private instances, their data and logs |
| `SCOREBOARD_MYSQL_URL`, `SCOREBOARD_REDIS_URL`, `SCOREBOARD_TEMPORAL_ADDRESS` | none | Use this service instead of starting a private one; only a Temporal that is given is reached by TLS or with a key |
| `SCOREBOARD_<ROLE>_MYSQL_URL`, `…_REDIS_URL`, `…_TEMPORAL_ADDRESS` | none | Address used by one role only (`SERVER` or `WORKER`); fault-injection tests put proxies there |

## Clients, load tests and tests

| variable | default | meaning |
|---|---|---|
| `SCOREBOARD_URL` | the running stack, else `http://localhost:3000` | Server that the client's commands talk to |
| `SCOREBOARD_TOKEN` | none | Bearer token of the client's commands; without one they make their own with `SCOREBOARD_JWT_SECRET` or the running stack's secret |
| `SCOREBOARD_LOAD_<OPTION>` | see `scoreboard load --help` | The load test's options for `locust -f loadtests/`: `SCOREBOARD_LOAD_RATE` and so on |
| `SCOREBOARD_MYSQL_IMAGE`, `SCOREBOARD_REDIS_IMAGE`, `SCOREBOARD_TEMPORAL_IMAGE` | `mysql:8.4`, `redis:8`, see `compose.yaml` | Container images of the services |
"""


def configuration() -> str:
    """The whole document."""
    common = {row[0] for row in describe(ServiceSettings)}
    return "".join(
        [
            _HEAD,
            _table("All processes", ServiceSettings, set()),
            _table(
                "API process (`python -m stack.api`, `python -m server`)", ServerSettings, common
            ),
            _table(
                "Worker (`python -m worker`, also inside the API process)", WorkerSettings, common
            ),
            _STACK,
        ]
    )


def _table(title: str, kind: type[Any], without: set[str]) -> str:
    rows = [
        f"| `{variable}` | {_default(default)} | {about} |\n"
        for variable, default, about in describe(kind)
        if variable not in without
    ]
    return f"\n## {title}\n\n| variable | default | meaning |\n|---|---|---|\n" + "".join(rows)


def _default(text: str) -> str:
    return "required" if text == "required" else f"`{text}`" if text else "none"


if __name__ == "__main__":
    sys.stdout.write(configuration())
