"""`/healthz` and `/readyz`: whether the process lives, and whether to send it work."""

from collections.abc import Sequence

from sanic.request import Request
from sanic.response import HTTPResponse

from server.availability import Availability
from server.http.responses import JSON
from server.http.routing import Route


class HealthRoutes:
    """The handlers."""

    def __init__(self, availability: Availability) -> None:
        self._availability = availability

    def routes(self) -> Sequence[Route]:
        """Their addresses."""
        return (
            Route("GET", "/healthz", "healthz", self.get_healthz),
            Route("GET", "/readyz", "readyz", self.get_readyz),
        )

    async def get_healthz(self, _request: Request) -> HTTPResponse:
        """The process lives."""
        return HTTPResponse(b'{"status":"alive"}', content_type=JSON)

    async def get_readyz(self, _request: Request) -> HTTPResponse:
        """200 when this process can take work, else 503 with the missing parts."""
        self._availability.require_ready()
        return HTTPResponse(b'{"status":"ready"}', content_type=JSON)
