"""Who submissions and streams speak for: users, and the token of each. Not the requests."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.measure.settings import RunSettings
from harness.net.target import Target, TargetError, find_target
from harness.targets.description import with_stream_token
from harness.targets.template import Value
from harness.targets.users import knows_names


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """`tokens` for a server as specified, `users` for one with a description; by number from 1."""

    target: Target
    settings: RunSettings
    tokens: Mapping[int, str]
    users: Mapping[int, dict[str, Value]]

    @property
    def names(self) -> dict[int, str]:
        """How the board calls each user, where the description of the server says so."""
        if self.target.server is None or not knows_names(self.target.server):
            return {}
        return {number: str(values["name"]) for number, values in self.users.items()}

    @property
    def numbers(self) -> dict[str, int]:
        """The number of each user by its id and by its name, as texts."""
        if self.target.server is None:
            return {str(number): number for number in self.tokens}
        names = {str(values["name"]): number for number, values in self.users.items()}
        return names | {str(values["user"]): number for number, values in self.users.items()}

    @property
    def stream_tokens(self) -> list[str]:
        """What listeners of a server as specified send, in turn; empty for nothing."""
        return list(self.tokens.values()) if self.settings.stream_auth else []


def target_of_run(host: str | None, settings: RunSettings) -> Target:
    """The server that a process's options and folder name. Raises TargetError."""
    found = find_target(
        host=host,
        mysql_url=settings.mysql_url,
        environ=os.environ,
        folder=Path.cwd(),
        target_file=settings.target,
    )
    if found is None:
        raise TargetError("no server: start one with `make up`, or name one with --host")
    return found


def credentials(target: Target, settings: RunSettings, now_s: int) -> Credentials:
    """The users of the run. A file may have fewer than were asked for. Raises TargetError."""
    if target.server is None:
        tokens = target.tokens(settings.players, now_s)
        return Credentials(target=target, settings=settings, tokens=tokens, users={})
    if settings.stream_auth:
        target = replace(target, server=with_stream_token(target.server))
    users = target.users(settings.players, now_s)
    settings = replace(settings, players=len(users))
    return Credentials(target=target, settings=settings, tokens={}, users=users)
