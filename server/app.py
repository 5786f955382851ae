"""The API as a Sanic application: handlers, and the parts behind them wired together.

Handlers only parse, ask one part and answer. Whatever connects does so in the
background and heals by itself, so the application starts with every service
away, says so, and is ready when they have come.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from sanic import Sanic
from sanic.config import Config
from sanic.request import Request
from sanic.response import HTTPResponse
from temporalio.client import Client

from adapters import redis, temporal
from adapters.tasks import end
from scoreboard import contract, ids
from scoreboard.errors import MALFORMED, UNAVAILABLE, Problem
from scoreboard.gzipped import accepts_gzip
from scoreboard.keys import Keyring, shared_secret
from server.auth.bearer import Authenticator
from server.auth.jwks import Jwks
from server.auth.signatures import Signatures, load_keys
from server.backends.mysql import LedgerReader
from server.backends.temporal import Workflows
from server.board.board import Board, Page
from server.board.query import parse_flag, parse_resume, parse_window
from server.http.fast_path import FastPath, raw
from server.http.problems import Problems
from server.http.protocol import Detached, detach
from server.observe.health import Health
from server.routes import docs_page
from server.routes.details import Details
from server.routes.metrics_routes import Figures
from server.routes.pages import pages_blueprint
from server.settings import ServerSettings
from server.stream.feed import Feed
from server.stream.hub import Hub
from server.stream.stream_gate import Entry, StreamGate
from server.submit.admission import Admission
from server.submit.batches import submit_all
from server.submit.commit import Committer
from server.submit.inflight_window import InflightWindow
from server.submit.submission_parser import MAX_BATCH_BODY_BYTES, SubmissionParser

if TYPE_CHECKING:
    from server.observe.tracing import Tracing

log = structlog.get_logger()

Companion = Callable[[Client], AbstractAsyncContextManager[object]]
"""Something that lives as long as the application and shares its Temporal client."""

JSON = "application/json"
RETRY_AFTER_S = 1
READY_INTERVAL_S = 0.02

_numbers = itertools.count(1)


def create_app(settings: ServerSettings, companion: Companion | None = None) -> Sanic[Any, Any]:
    """The application. Opens nothing: that happens when it starts."""
    config = Config(env_prefix="")
    config.update(
        {
            "AUTO_EXTEND": False,
            "MOTD": False,
            "ACCESS_LOG": False,
            "REQUEST_MAX_SIZE": MAX_BATCH_BODY_BYTES,
            "REQUEST_MAX_HEADER_SIZE": 8192,
            "GRACEFUL_TCP_CLOSE_TIMEOUT": 2.0,
        }
    )
    problems = Problems(settings.rate_limit)
    app: Sanic[Any, Any] = Sanic(
        f"scoreboard-{next(_numbers)}",
        config=config,
        error_handler=problems,
        configure_logging=False,
    )
    api = Api(settings, companion, problems)
    app.ctx.api = api
    app.ctx.fast_path = api.fast_path
    app.add_route(api.get_scores, contract.SCORES_PATH, methods=["GET"], name="scores")
    for name, path, handler in (
        ("update", contract.UPDATE_PATH, api.post_update),
        ("updates", contract.OUTCOMES_PATH, api.post_updates),
    ):
        traced = api.tracing.around(f"POST {path}", handler) if api.tracing else handler
        app.add_route(traced, path, methods=["POST"], name=name)
    app.add_route(api.get_stream, contract.STREAM_PATH, methods=["GET"], name="stream")
    app.add_route(api.get_healthz, "/healthz", methods=["GET"], name="healthz")
    app.add_route(api.get_readyz, "/readyz", methods=["GET"], name="readyz")
    api.details.add_routes(app)
    api.gate.add_routes(app)
    api.figures.add_routes(app)
    app.blueprint(pages_blueprint())
    docs_page.add_routes(app)
    app.before_server_start(api.start)
    app.before_server_stop(api.drain)
    app.after_server_stop(api.close)
    return app


class Api:
    """Handlers and the parts they ask."""

    def __init__(
        self, settings: ServerSettings, companion: Companion | None, problems: Problems
    ) -> None:
        self._settings = settings
        self._companion = companion
        self._problems = problems
        secret = shared_secret(settings.jwt_secret) if settings.jwt_secret else None
        self._authenticator = Authenticator(
            Keyring(secret=secret), clock=time.time, on_unknown_key=self._ask_for_keys
        )
        self._jwks = (
            Jwks(
                settings.jwks,
                interval_s=settings.jwks_interval_s,
                on_keys=lambda keys: self._authenticator.replace_keys(
                    Keyring(secret=secret, public=keys)
                ),
            )
            if settings.jwks
            else None
        )
        keys = load_keys(settings.signature_keys) if settings.signature_keys else {}
        self._parser = SubmissionParser(
            self._authenticator, Signatures(keys, required=settings.signatures_required)
        )
        self._redis = redis.connect(settings.redis)
        self._ledger = LedgerReader(settings.mysql)
        # Reads that need no token: a crowd of them must not take the connections by which
        # submissions are admitted, changes followed and health is judged.
        self._public_redis = redis.connect_readers(settings.redis)
        self._public_ledger = LedgerReader(settings.mysql)
        self.details = Details(
            redis=self._public_redis,
            ledger=self._public_ledger,
            principal=self._parser.principal,
            client=lambda: self._workflows.client if self._workflows else None,
        )
        self.figures = Figures(settings, self._parser.principal)
        self.gate = StreamGate(settings, self._authenticator, self._redis)
        self.tracing = _tracing(settings, self._redis)
        self._workflows: Workflows | None = None
        self._companion_runs = False
        self._leaving = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = self._refusing = False
        self.fast_path = FastPath(
            principal=self._authenticator.verified_principal,
            ready=lambda: not (self._refusing or self._health.away),
            submit=lambda submission, keyed: self._committer.submit(submission, keyed=keyed),
            accept=_accepted_response,
            refuse=lambda problem: problems.answer(problem, path=contract.UPDATE_PATH),
            page=self._ready_page,
        )
        self._page_answer: tuple[Page | None, bytes] = (None, b"")
        self.failed = asyncio.Event()
        """Set when the application cannot go on; its process should end."""

    # Handlers

    async def get_scores(self, request: Request) -> HTTPResponse:
        """The board, best first."""
        try:
            if request.query_string:
                window = parse_window(request.get_args(keep_blank_values=True))
                page = await self._board.page(*window)
            else:
                self.fast_path.learn_read(request)
                page = self._board.ready_top() or await self._board.page(contract.TOP_DEFAULT, 0)
        except Problem as problem:
            return self._problems.answer(problem, path=request.path)
        return _page_response(page, request.headers.get("if-none-match"))

    async def post_update(self, request: Request) -> HTTPResponse:
        """Accept a submission: durable in a started workflow when this answers 202."""
        try:
            asked = self._parser.one(request)
            self._must_take_work()
            if self.tracing is not None:
                self.tracing.note(asked.submission.id)
            await self._committer.submit(asked.submission, keyed=asked.keyed)
        except Problem as problem:
            return self._problems.answer(problem, path=request.path)
        name = ids.text(asked.submission.id)
        if self._settings.log_requests:
            log.info("submission_accepted", submission_id=name)
        elif self.tracing is None and self._parser.is_plain(request):
            self.fast_path.learn_submission(request)
        return _accepted_response(name)

    async def post_updates(self, request: Request) -> HTTPResponse:
        """Accept many submissions; each item of the answer is what its own request would get."""
        items = self._parser.many(request)
        self._must_take_work()
        named = [item.submission.id for item in items if not isinstance(item, Problem)]
        if self.tracing is not None:
            for submission_id in named:
                self.tracing.note(submission_id)
        if self._settings.log_requests:
            log.info("submissions_received", submission_ids=[ids.text(one) for one in named])
        results = await submit_all(self._committer, items)
        return HTTPResponse(msgspec.json.encode(results), content_type=JSON)

    async def get_stream(self, request: Request) -> HTTPResponse:
        """Turn the connection into an event stream; it leaves Sanic."""
        entry: Entry | None = None
        try:
            arguments = request.get_args(keep_blank_values=True)
            resume = parse_resume(request.headers.getall("last-event-id", []), arguments)
            if request.version != "1.1":
                raise Problem(MALFORMED, "The event stream needs HTTP/1.1.")
            snapshot = parse_flag(arguments, "snapshot")
            entry = await self.gate.enter(request, arguments)
            opening, cursor = await self._hub.opening(resume, snapshot=snapshot)
            # No await from here on: the opening is only right for this moment.
            gzip = self._settings.stream_gzip and accepts_gzip(
                request.headers.getall("accept-encoding", ())
            )
            head = _stream_head(() if entry is None else entry.headers, gzip=gzip)
            listener = self._hub.attach(detach(request), head, opening, cursor, gzip=gzip)
        except BaseException as error:
            if entry is not None:
                entry.failed()
            if isinstance(error, Problem):
                return self._problems.answer(error, path=request.path)
            raise
        if entry is not None:
            entry.opened(listener)
        raise Detached

    async def get_healthz(self, _request: Request) -> HTTPResponse:
        """The process lives."""
        return HTTPResponse(b'{"status":"alive"}', content_type=JSON)

    async def get_readyz(self, request: Request) -> HTTPResponse:
        """Whether to send this process work."""
        away = self._health.away
        if self._draining:
            away = (*away, "draining")
        elif not away and not self._hub.started:
            away = ("board",)
        if away:
            problem = Problem(
                UNAVAILABLE,
                f"Not ready: {', '.join(away)}.",
                retry_after_s=RETRY_AFTER_S,
                members={"parts": away},
            )
            return self._problems.answer(problem, path=request.path)
        return HTTPResponse(b'{"status":"ready"}', content_type=JSON)

    def _ready_page(self) -> bytes | None:
        """The whole answer to GET /scores, built once for each page."""
        page = self._board.ready_top()
        if page is not None and page is not self._page_answer[0]:
            self._page_answer = (page, raw(_page_response(page, None)))
        return None if page is None else self._page_answer[1]

    def _ask_for_keys(self) -> None:
        if self._jwks is not None:
            self._jwks.ask()

    def _must_take_work(self) -> None:
        if self._refusing or self._health.away:
            raise Problem(UNAVAILABLE, "A backend is away.", retry_after_s=RETRY_AFTER_S)

    # Life

    async def start(self, _app: Sanic[Any, Any]) -> None:
        """Create the parts and let them connect in the background."""
        settings = self._settings
        self._hub = Hub(
            self._snapshot,
            # Made below: the board and the hub ask each other.
            forget=lambda: self._board.forget(),  # noqa: PLW0108
            listeners_max=settings.listeners_max,
            history_changes=settings.history_changes,
            on_written=self.tracing.written if self.tracing else None,
            tick_max_s=settings.tick_max_s,
            heartbeat_s=settings.heartbeat_s,
            lagging_max_s=settings.lagging_max_s,
        )
        self._board = Board(self._public_redis, self._public_ledger, shown=lambda: self._hub.cursor)
        feed = Feed(self._redis, self._ledger, self._hub, history_changes=settings.history_changes)
        admission = Admission(
            self._redis,
            self._ledger,
            limit=settings.rate_limit,
            replay_limit=settings.replay_limit,
        )
        unfinished = InflightWindow(
            settings.batches_running, settings.batches_unfinished, clock=time.monotonic
        )
        self._committer = Committer(
            admission.admit,
            self._start_batch,
            unfinished,
            batch_max=settings.batch_max,
            in_flight_max=settings.batches_in_flight,
            queue_max=settings.queue_max,
            timeout_s=settings.submit_timeout_s,
        )
        self._health = Health(
            {
                "mysql": self._ledger.board,
                "redis": self._redis.ping,
                "temporal": self._ping_temporal,
            },
            interval_s=settings.health_interval_s,
        )
        self.figures.watch(
            committer=self._committer,
            unfinished=unfinished,
            hub=self._hub,
            health=self._health,
            redis=self._redis,
            draining=lambda: self._draining,
        )
        for part in (
            feed.run(),
            self._hub.run(),
            self._committer.sweep(),
            unfinished.listen(self._redis),
            unfinished.look_up(self._is_running),
            self._health.run(),
            *self.gate.parts(),
            *([self._jwks.keep_fresh()] if self._jwks else []),
            self._use_temporal(),
        ):
            self._keep(part)

    async def wait_until_ready(self, timeout_s: float) -> None:
        """Return once this process can take work, or after `timeout_s`."""
        for _ in range(int(timeout_s / READY_INTERVAL_S)):
            if self._hub.started and not self._health.away:
                return
            await asyncio.sleep(READY_INTERVAL_S)
        log.warning("not_ready_yet", away=self._health.away)

    async def drain(self, _app: Sanic[Any, Any]) -> None:
        """Refuse new work, answer what waits and end the streams cleanly."""
        self._draining = True
        log.info("draining", waiting=self._committer.waiting, listeners=len(self._hub))
        # Readiness fails first: whoever sends work here has this long to hear of it.
        await asyncio.sleep(self._settings.drain_notice_s)
        self._refusing = True
        await self._committer.close(self._settings.drain_timeout_s / 2)
        await self._hub.drain(self._settings.drain_timeout_s / 2)

    async def close(self, _app: Sanic[Any, Any]) -> None:
        """Let the companion go and close every connection."""
        self._leaving.set()
        *parts, temporal = self._tasks
        if not self._companion_runs:
            # It waits for Temporal, or the companion for MySQL, which need not come any more.
            await end([temporal])
        await asyncio.gather(temporal, return_exceptions=True)
        await end(parts)
        await self._board.close()
        if self.tracing is not None:
            await self.tracing.close()
        await self._redis.aclose()
        await self._public_redis.aclose()
        await self._ledger.close()
        await self._public_ledger.close()

    def _keep(self, part: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(part)
        self._tasks.append(task)
        task.add_done_callback(self._part_ended)

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (self._leaving.is_set() and task.exception() is None):
            return
        log.error("part_failed", exc_info=task.exception())
        self.failed.set()

    async def _use_temporal(self) -> None:
        client = await temporal.connect(
            self._settings,
            self.tracing.interceptors() if self.tracing else (),
        )
        self._workflows = Workflows(client, self._settings.task_queue)
        async with self._companion(client) if self._companion else nullcontext():
            self._companion_runs = True
            await self._leaving.wait()

    async def _start_batch(self, batch_id: str, payload: bytes, *, timeout_s: float) -> None:
        if self._workflows is None:
            raise TimeoutError("Temporal has not been reached yet")
        async with self.tracing.batch(batch_id, payload) if self.tracing else nullcontext():
            await self._workflows.start(batch_id, payload, timeout_s=timeout_s)

    async def _is_running(self, batch_id: str) -> bool:
        return self._workflows is None or await self._workflows.is_running(batch_id)

    async def _ping_temporal(self) -> None:
        if self._workflows is None:
            raise TimeoutError("Temporal has not been reached yet")
        await self._workflows.ping()

    async def _snapshot(self, at_least: int) -> Any:
        return await self._board.snapshot(at_least)


_ACCEPTED = f'{{"message":"{contract.ACCEPTED_MESSAGE}","submissionId":"%s"}}'


def _tracing(settings: ServerSettings, client: redis.Redis) -> "Tracing | None":
    if not settings.otlp_endpoint:
        return None
    # Not at the top: who traces nothing pays nothing, and need not have the packages.
    from server.observe.tracing import Tracing

    return Tracing(settings.otlp_endpoint, ratio=settings.trace_ratio, redis=client)


def _accepted_response(name: str) -> HTTPResponse:
    return HTTPResponse(
        _ACCEPTED % name,
        status=202,
        headers={"location": f"{contract.OUTCOMES_PATH}/{name}"},
        content_type=JSON,
    )


def _page_response(page: Page, if_none_match: str | None) -> HTTPResponse:
    headers = {
        contract.SEQ_HEADER: str(page.seq),
        "etag": page.etag,
        # Caches may keep it but must ask each time.
        "cache-control": "no-cache",
    }
    if if_none_match is not None and page.etag in if_none_match:
        return HTTPResponse(status=304, headers=headers)
    return HTTPResponse(page.body, headers=headers, content_type=JSON)


@lru_cache(maxsize=64)
def _stream_head(headers: tuple[tuple[str, str], ...], *, gzip: bool) -> bytes:
    """The head of an event stream's response."""
    return (
        "HTTP/1.1 200 OK\r\n"
        "content-type: text/event-stream\r\n"
        "cache-control: no-store\r\n"
        "x-accel-buffering: no\r\n"
        "vary: accept-encoding\r\n"
        + ("content-encoding: gzip\r\n" if gzip else "")
        + "".join(f"{name}: {value}\r\n" for name, value in headers)
        + "transfer-encoding: chunked\r\n"
        "connection: close\r\n\r\n"
    ).encode()
