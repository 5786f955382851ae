"""Private MySQL-compatible, Redis and Temporal instances in a data folder of their own.

Each service knows how to prepare its folder, what command runs it and when it really answers.
Nothing here touches a system service, a system configuration file or a port other than on
127.0.0.1. What keeps them running is `stack.supervision`; `start` serves tests as well.
"""

from stack.services.launch import START_TIMEOUT_S, Started, start
from stack.services.mysql import Mysql
from stack.services.program import Private, Program, Service
from stack.services.redis import Redis
from stack.services.temporal import Temporal

__all__ = [
    "START_TIMEOUT_S",
    "Mysql",
    "Private",
    "Program",
    "Redis",
    "Service",
    "Started",
    "Temporal",
    "start",
]
