"""What a call of the client can end in, other than its result.

ClientError
├── Refused        the server said no; this call changed nothing
├── Unreachable    no answer that counts; nothing can have been changed
├── EffectUnknown  a submission may or may not have been accepted; repeat it with its key
└── BadAnswer      the server does not speak the contract
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A refusal as the server worded it (RFC 9457); `code` is stable, the rest is for people."""

    status: int
    code: str
    title: str
    detail: str
    retry_after_s: float | None = None

    def __str__(self) -> str:
        said = f"{self.status} {self.code}: {self.title}"
        return f"{said} ({self.detail})" if self.detail else said


class ClientError(Exception):
    """Anything this client raises."""


class Refused(ClientError):
    """The server refused, and nothing was changed by this call."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class Unreachable(ClientError):
    """The server gave no usable answer to a call that cannot have changed anything."""

    def __init__(self, base_url: str, reason: str) -> None:
        super().__init__(f"no answer from {base_url}: {reason}")
        self.reason = reason


class EffectUnknown(ClientError):
    """A submission's fate is open: an attempt may have reached the server.

    Calling `submit` again with `idempotency_key` and the same body settles it
    and never counts twice.
    """

    def __init__(self, idempotency_key: str, reason: str) -> None:
        super().__init__(f"{reason}; repeat with Idempotency-Key {idempotency_key} to settle it")
        self.idempotency_key = idempotency_key
        self.reason = reason


class BadAnswer(ClientError):
    """An answer that the contract does not allow."""
