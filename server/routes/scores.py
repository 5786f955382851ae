"""`GET /scores` and `GET /scores/users/{id}`: pages of the board, and a user's place on it."""

from collections.abc import Callable, Sequence

from sanic.request import Request
from sanic.response import HTTPResponse

from scoreboard import contract
from scoreboard.domain import MAX_USER_ID
from scoreboard.errors import NOT_FOUND, Problem
from server.board.board import Board, Page
from server.board.query import parse_floor, parse_number, parse_window
from server.board.ranks import NEIGHBOURS_DEFAULT, NEIGHBOURS_MAX, Ranks
from server.http.responses import JSON, WireBytes, json_response, wire_bytes
from server.http.routing import Route


class ReadyPage:
    """The whole answer to a plain GET /scores, built once for each page."""

    def __init__(self, board: Board, fields: Sequence[tuple[str, str]] = ()) -> None:
        self._board = board
        self._fields = fields
        self._page: Page | None = None
        self._answer: WireBytes | None = None

    def __call__(self) -> WireBytes | None:
        """The response; None when the board must be read first."""
        page = self._board.ready_top()
        if page is None:
            return None
        if page is not self._page:
            self._page, self._answer = page, wire_bytes(page_response(page), self._fields)
        return self._answer


class ScoresRoutes:
    """The handlers; `learn` remembers a plain read for the fast path."""

    def __init__(self, board: Board, ranks: Ranks, *, learn: Callable[[Request], None]) -> None:
        self._board = board
        self._ranks = ranks
        self._learn = learn

    def routes(self) -> Sequence[Route]:
        """Their addresses."""
        return (
            Route("GET", contract.SCORES_PATH, "scores", self.get_scores),
            Route("GET", f"{contract.USERS_PATH}/<user_id>", "user", self.get_user),
        )

    async def get_scores(self, request: Request) -> HTTPResponse:
        """The board, best first."""
        floor = parse_floor(request.headers.getall(contract.SEQ_HEADER, ()))
        if request.query_string:
            window = parse_window(request.get_args(keep_blank_values=True))
            page = await self._board.page(*window, floor)
        elif floor:
            page = await self._board.page(contract.TOP_DEFAULT, 0, floor)
        else:
            self._learn(request)
            page = self._board.ready_top() or await self._board.page(contract.TOP_DEFAULT, 0)
        return page_response(page)

    async def get_user(self, request: Request, user_id: str) -> HTTPResponse:
        """A user's score, rank and neighbours."""
        if (
            not (user_id.isascii() and user_id.isdigit())
            # Checked before the conversion: Python refuses integers of thousands of digits.
            or len(user_id) > len(str(MAX_USER_ID))
            or not 0 < int(user_id) <= MAX_USER_ID
        ):
            raise Problem(NOT_FOUND, "There is no such user.")
        neighbours = parse_number(
            request.get_args(keep_blank_values=True),
            "neighbours",
            NEIGHBOURS_DEFAULT,
            least=0,
            most=NEIGHBOURS_MAX,
        )
        floor = parse_floor(request.headers.getall(contract.SEQ_HEADER, ()))
        seq, found = await self._ranks.around(int(user_id), neighbours, floor)
        return json_response(found, {"cache-control": "no-cache", contract.SEQ_HEADER: str(seq)})


def page_response(page: Page) -> HTTPResponse:
    """The answer of GET /scores."""
    headers = {
        contract.SEQ_HEADER: str(page.seq),
        "etag": page.etag,
        # Caches may keep it but must revalidate each time.
        "cache-control": "no-cache",
    }
    return HTTPResponse(page.body, headers=headers, content_type=JSON)
