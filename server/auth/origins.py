"""Which origins' pages may open event streams (CORS). Pure.

A browser sends the page's origin with every cross-origin request, and cookies with
it; so a foreign origin is refused, not merely left without CORS headers. Clients
other than browsers send no Origin and are not checked.
"""

import re
from collections.abc import Iterable, Sequence

from scoreboard.errors import FORBIDDEN, Problem

ANY = "*"

# As browsers write them: in lower case, without a path.
_ORIGIN = re.compile(r"https?://([a-z0-9.\-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def origins(value: str) -> tuple[str, ...]:
    """The setting: origins separated by commas, or `*`. Raises ValueError."""
    found = tuple(part.strip() for part in value.split(","))
    if not all(origin == ANY or _ORIGIN.fullmatch(origin) for origin in found):
        raise ValueError("must be origins like https://example.org, separated by commas, or *")
    return found


class Origins:
    """The allowed origins, besides the server's own."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(allowed)
        self._any = ANY in self._allowed

    def headers(self, origin: Sequence[str], host: str) -> tuple[tuple[str, str], ...]:
        """The CORS headers for a request with these Origin fields.

        Raises Problem (forbidden) for an origin that is not allowed.
        """
        if not origin:
            return ()
        if self._any:
            # Without credentials: no foreign page can use this site's cookie.
            return (("access-control-allow-origin", ANY),)
        if len(origin) == 1:
            if origin[0] in self._allowed:
                return (
                    ("access-control-allow-origin", origin[0]),
                    ("access-control-allow-credentials", "true"),
                    ("vary", "origin"),
                )
            if origin[0].partition("://")[2] == host:
                return ()
        raise Problem(FORBIDDEN, "Pages of this origin may not open event streams here.")
