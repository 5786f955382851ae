"""`/admin/players`: who plays, an operator's orders, and their trail. See `board.players`."""

import time
from collections.abc import Callable, Mapping, Sequence

from sanic.request import Request
from sanic.response import HTTPResponse
from temporalio.client import Client

from scoreboard import contract
from scoreboard.domain import MAX_USER_ID
from scoreboard.tokens import Principal
from server.backends.mysql import LedgerReader
from server.board import players
from server.board.query import parse_number
from server.http.responses import NOT_STORED, json_response
from server.http.routing import Route


class PlayerRoutes:
    """The handlers; `client` returns the Temporal client, or raises Problem (unavailable)."""

    def __init__(
        self,
        ledger: LedgerReader,
        *,
        principal: Callable[[Request], Principal],
        client: Callable[[], Client],
        new_id: Callable[[int], bytes],
        task_queue: str,
    ) -> None:
        self._ledger = ledger
        self._principal = principal
        self._client = client
        self._new_id = new_id
        self._task_queue = task_queue

    def routes(self) -> Sequence[Route]:
        """Their addresses."""
        path = contract.PLAYERS_PATH
        return (
            Route("GET", path, "players", self.get_players),
            Route("POST", path, "order", self.post_order),
            Route("GET", f"{path}/changes", "changes", self.get_changes),
            Route("POST", f"{path}/look", "look", self.post_look),
        )

    async def get_players(self, request: Request) -> HTTPResponse:
        """The next players by id, after `?after=`."""
        players.may_manage(self._principal(request))
        arguments: Mapping[str, Sequence[str]] = request.get_args(keep_blank_values=True)
        after = parse_number(arguments, "after", 0, least=0, most=MAX_USER_ID)
        limit = parse_number(
            arguments, "limit", players.PLAYERS_DEFAULT, least=1, most=players.PLAYERS_MAX
        )
        return json_response(await players.players(self._ledger, after, limit), NOT_STORED)

    async def get_changes(self, request: Request) -> HTTPResponse:
        """The latest orders, newest first."""
        players.may_manage(self._principal(request))
        return json_response(await players.changes(self._ledger), NOT_STORED)

    async def post_order(self, request: Request) -> HTTPResponse:
        """Carry out an order; answers when it is stored and published."""
        principal = self._principal(request)
        players.may_manage(principal)
        order = players.parse_order(
            principal,
            request.headers.getall("idempotency-key", ()),
            request.headers.get("content-type", ""),
            request.body,
            self._new_id(time.time_ns() // 1000),
        )
        done = await players.carry_out(self._client(), order, task_queue=self._task_queue)
        return json_response(done, NOT_STORED)

    async def post_look(self, request: Request) -> HTTPResponse:
        """Compare the whole board with MySQL now, after changes by hand."""
        players.may_manage(self._principal(request))
        look_id = self._new_id(time.time_ns() // 1000)
        found = await players.look(self._client(), look_id, task_queue=self._task_queue)
        return json_response(found, NOT_STORED)
