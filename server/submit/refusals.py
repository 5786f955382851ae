"""What the refusals of each principal may cost this process, and when they are answered.

A refusal costs processor time, which a client that asks again at full speed takes from all others.
Each principal, and each address without one, has an account of refusals that refills at a steady
rate. While it is empty, answers wait; while it is overdrawn, batches are refused from their head
alone. Not who is refused, nor why: see `known_limits` and `commit`.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

from scoreboard.errors import RATE_LIMITED, Problem
from scoreboard.tokens import SCOPE_ANY_USER, Principal

KNOWN_MAX = 10_000
"""Principals whose account is remembered."""

PER_S = 200.0
ADDRESS_PER_S = 500.0
"""More than for a principal: many people may share an address."""

WAIT_MAX_S = 1.0
DEBT_MAX_S = 5.0
"""How far an account is overdrawn at most: that long after its last refusal, all is as before."""

BYTES_PER_REFUSAL = 512
"""A refused body counts by its length: reading it was the cost."""


class RefusalAccounts:
    """The accounts: for each principal, the moment at which it is level again. Pure.

    `per_s` refusals of a principal are free in a second; answers to further ones wait, at most
    `wait_max_s`.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        per_s: float = PER_S,
        wait_max_s: float = WAIT_MAX_S,
        debt_max_s: float = DEBT_MAX_S,
    ) -> None:
        self._per_s = per_s
        self._wait_max_s = wait_max_s
        self._debt_max_s = debt_max_s
        self._clock = clock
        self._level_at: dict[str, float] = {}

    def charge(self, principal: str, refusals: int = 1) -> float:
        """Count refusals; how long to keep their answer, 0 for the first of a second."""
        now = self._clock()
        if len(self._level_at) >= KNOWN_MAX:
            self._level_at = {p: at for p, at in self._level_at.items() if at > now}
            if len(self._level_at) >= KNOWN_MAX:
                self._level_at.clear()
        level_at = max(self._level_at.get(principal, -math.inf), now - 1.0)
        level_at = min(level_at + refusals / self._per_s, now + self._debt_max_s)
        self._level_at[principal] = level_at
        return min(max(0.0, level_at - now), self._wait_max_s)

    def overdrawn_s(self, principal: str) -> float:
        """Seconds until a principal whom waiting no longer slows down is heard again; else 0."""
        debt_s = self._level_at.get(principal, -math.inf) - self._clock()
        return max(0.0, debt_s - self._wait_max_s)


class Refusals:
    """Answers refusals by the accounts: at once, or later. Made inside a running loop.

    A refusal that waits costs a timer, whatever it refuses.
    """

    def __init__(self, accounts: RefusalAccounts | None = None) -> None:
        self._accounts = accounts or RefusalAccounts(clock=time.monotonic)
        # Kept: in Python 3.11 each look-up asks the kernel for the process id.
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[asyncio.Future[int], tuple[asyncio.TimerHandle, Problem]] = {}

    def later(self, principal: str, problem: Problem, refusals: int = 1) -> "asyncio.Future[int]":
        """A future that fails with the problem, once the principal's account allows it."""
        waiter: asyncio.Future[int] = self._loop.create_future()
        delay_s = self._accounts.charge(principal, refusals)
        if delay_s == 0:
            waiter.set_exception(problem)
        else:
            timer = self._loop.call_later(delay_s, self._answer, waiter)
            self._waiting[waiter] = (timer, problem)
        return waiter

    def count(self, principal: str, body: bytes) -> float:
        """Count a refused request; how long to keep its answer."""
        return self._accounts.charge(principal, weight(body))

    def check(self, principal: Principal) -> None:
        """Raises Problem (rate_limited) for a principal whose account is overdrawn.

        Never for one who submits for many users: their excess is not its own.
        """
        if SCOPE_ANY_USER in principal.scopes:
            return
        debt_s = self._accounts.overdrawn_s(principal.subject)
        if debt_s > 0:
            raise Problem(
                RATE_LIMITED,
                "Too many of your requests are refused.",
                retry_after_s=math.ceil(debt_s),
            )

    def close(self, problem: Problem) -> None:
        """Answer all that wait with this one."""
        for waiter, (timer, _) in list(self._waiting.items()):
            self._waiting[waiter] = (timer, problem)
            self._answer(waiter)

    def _answer(self, waiter: "asyncio.Future[int]") -> None:
        timer, problem = self._waiting.pop(waiter)
        timer.cancel()
        # Done already when the client disconnected.
        if not waiter.done():
            waiter.set_exception(problem)


def weight(body: bytes) -> int:
    """The refusals that a refused body counts as."""
    return 1 + len(body) // BYTES_PER_REFUSAL


class RefusedRequests:
    """How long to keep the answer to a whole refused request, by whose it is.

    `address` tells where a request comes from; None: from nowhere that counts.
    """

    def __init__(
        self,
        refusals: Refusals,
        address: Callable[[Any], str | None],
        accounts: RefusalAccounts | None = None,
    ) -> None:
        self._refusals = refusals
        self._address = address
        self._accounts = accounts or RefusalAccounts(clock=time.monotonic, per_s=ADDRESS_PER_S)

    def delay_s(self, request: Any) -> float:
        """Count a refused request; seconds to keep its answer, and nothing else of it."""
        principal = getattr(request.ctx, "principal", None)
        if principal is None:
            address = self._address(request)
            found = 0.0 if address is None else self._accounts.charge(address)
        else:
            found = self._refusals.count(principal, request.body)
        request.body = b""
        return found
