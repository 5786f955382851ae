"""Which origins' pages may use this API (CORS). Pure.

A browser sends the page's origin with every cross-origin request. Every answer, refusals
included, tells it whether the page may read it. A browser sends cookies too, so a stream, a ticket
and a preflight are refused to a foreign origin, not merely left without CORS headers. Clients
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


EXPOSED = (
    "etag, link, location, ratelimit, ratelimit-policy, retry-after, scoreboard-seq,"
    " www-authenticate"
)
"""Fields of answers that a page elsewhere may read."""

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Origins:
    """The allowed origins, besides the server's own."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(allowed)
        self._any = ANY in self._allowed
        exposed = ("access-control-expose-headers", EXPOSED)
        self.always: tuple[tuple[str, str], ...] = ()
        """Fields of every answer, whatever the request's origin: caches may keep it."""
        if self._any:
            # Without credentials: no foreign page can use this site's cookie.
            self.always = (("access-control-allow-origin", ANY), exposed)
        elif self._allowed:
            self.always = (("vary", "origin"),)
        self._by_origin = {
            origin: (
                ("access-control-allow-origin", origin),
                ("access-control-allow-credentials", "true"),
                exposed,
                ("vary", "origin"),
            )
            for origin in self._allowed
        }

    def fields(self, origin: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """Fields of the answer to a request with these Origin fields."""
        if self._any or len(origin) != 1:
            return self.always
        return self._by_origin.get(origin[0], self.always)

    def check(self, origin: Sequence[str], host: str, *, same_origin: bool = False) -> None:
        """Raises Problem (forbidden) for a page that is neither this server's nor allowed.

        `same_origin`: the browser said so (Sec-Fetch-Site, which no page can set). Otherwise
        `host`, the request's Host, tells; a proxy may have changed that.
        """
        if not origin or self._any or same_origin:
            return
        if len(origin) == 1:
            scheme, _, address = origin[0].partition("://")
            port = _DEFAULT_PORTS.get(scheme)
            if origin[0] in self._allowed or (
                port is not None
                and address.removesuffix(port)
                and address.removesuffix(port) == host.lower().removesuffix(port)
            ):
                return
        raise Problem(FORBIDDEN, "Pages of this origin may not use this server.")
