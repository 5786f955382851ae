"""The API as a Sanic application: its parts, built and wired in one pass.

Everything that connects does so in the background and recovers by itself, so the application
starts while services are unavailable, reports that, and is ready once they answer. Not what the
parts do, nor when they start and stop: see `life`.
"""

import itertools
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from sanic import Sanic
from sanic.config import Config
from sanic.request import Request

from adapters import redis
from adapters.health import Health
from adapters.health.clocks import CLOCK, ClockCheck, clocks
from adapters.redis_rights import SERVER_COMMANDS, RedisProbe
from scoreboard import contract
from scoreboard.keys import Keyring, KeySet, shared_secret
from server.auth.bearer import Authenticator
from server.auth.jwks import Jwks, jwks_sources
from server.auth.origins import Origins
from server.auth.signatures import Signatures, load_keys
from server.availability import Availability
from server.backends.mysql import LedgerReader
from server.board.board import Board
from server.board.outcomes import Outcomes
from server.board.position import BoardPosition
from server.board.ranks import Ranks
from server.board.read_order import ReadOrder
from server.board.redis_watch import RedisWatch
from server.http.fast_path import FastPath
from server.http.problems import Problems
from server.http.routing import Handler, Route, add_routes
from server.life import Background, Life
from server.routes import docs_page
from server.routes.health import HealthRoutes
from server.routes.metrics_routes import MetricsRoutes, metrics_of
from server.routes.pages import pages_routes
from server.routes.players import PlayerRoutes
from server.routes.reviews import ReviewRoutes
from server.routes.scores import ReadyPage, ScoresRoutes
from server.routes.streams import StreamRoutes
from server.routes.submissions import SubmissionRoutes, accepted_response
from server.settings import ServerSettings
from server.stream.client_ip import Proxies
from server.stream.feed import Feed
from server.stream.hub import Hub
from server.stream.stream_gate import StreamGate
from server.submit.admission import Admission
from server.submit.backlog import Backlog
from server.submit.batch_starter import BatchStarter, EmbeddedWorker
from server.submit.commit import Committer
from server.submit.refusals import Refusals, RefusedRequests
from server.submit.submission import NewIds
from server.submit.submission_parser import MAX_BATCH_BODY_BYTES, SubmissionParser

if TYPE_CHECKING:
    from server.observe.tracing import Tracing

_TRACED = ("update", "updates")
_numbers = itertools.count(1)


def create_app(
    settings: ServerSettings, embedded_worker: EmbeddedWorker | None = None
) -> Sanic[Any, Any]:
    """The application, for the running event loop. Opens nothing: that happens at its start."""
    problems = Problems(settings.rate_limit)
    app = _sanic(problems)

    redis_client = redis.connect(settings.redis)
    ledger = LedgerReader(settings.mysql)
    # Reads that need no token: a crowd of them must not take the connections through which
    # submissions are admitted, changes are followed and health is checked.
    public_redis = redis.connect_readers(settings.redis)
    public_ledger = LedgerReader(settings.mysql)
    tracing = _tracing(settings, redis_client)
    starter = BatchStarter(settings, tracing=tracing, embedded_worker=embedded_worker)
    health = Health(
        {
            "mysql": ledger.check_able,
            "redis": RedisProbe(redis_client, SERVER_COMMANDS).check,
            "temporal": starter.ping,
            CLOCK: ClockCheck(clocks(redis_client, ledger)).check,
        },
        interval_s=settings.health_interval_s,
        trusted=(CLOCK,),
    )
    position = BoardPosition()
    availability = Availability(health, position)

    authenticator, refresh_keys = _authentication(settings)
    keys = load_keys(settings.signature_keys) if settings.signature_keys else {}
    new_id = NewIds()
    parser = SubmissionParser(
        authenticator,
        Signatures(
            keys,
            required=settings.signatures_required,
            authorities=settings.signature_authorities,
        ),
        new_id,
    )
    admission = Admission(
        redis_client,
        ledger,
        starter.running,
        limit=settings.rate_limit,
        replay_limit=settings.replay_limit,
    )
    refusals = Refusals()
    committer = Committer(
        admission.admit,
        starter.start,
        batch_max=settings.batch_max,
        in_flight_max=settings.batches_in_flight,
        queue_max=settings.queue_max,
        timeout_s=settings.submit_timeout_s,
        running_usual=settings.batches_running,
        running_max=settings.batches_unfinished,
        refusals=refusals,
        interval_s=settings.batch_interval_s,
        repeats_per_s=settings.replay_limit.count / (settings.replay_limit.window_us / 1e6),
        log_accepted=settings.log_requests,
    )

    order = ReadOrder(position)
    board = Board(public_redis, public_ledger, position=position, order=order)
    ranks = Ranks(public_redis, public_ledger, order)
    hub = Hub(
        board.snapshot,
        position=position,
        listeners_max=settings.listeners_max,
        history_changes=settings.history_changes,
        on_written=tracing.written if tracing else None,
        tick_max_s=settings.tick_max_s,
        heartbeat_s=settings.heartbeat_s,
        lagging_max_s=settings.lagging_max_s,
    )
    feed = Feed(redis_client, ledger, hub, history_changes=settings.history_changes)
    origins = Origins(settings.stream_origins)
    proxies = Proxies(settings.proxies_count, header=settings.proxies_header)
    gate = StreamGate(settings, authenticator, redis_client, origins, proxies)
    accept = partial(accepted_response, base=settings.base_path)

    def fields(request: Request) -> tuple[tuple[str, str], ...]:
        return origins.fields(request.headers.getall("origin", ()))

    fast_path = FastPath(
        principal=authenticator.verified_principal,
        ready=availability.takes_work,
        submit=lambda submission, keyed: committer.submit(submission, keyed=keyed),
        new_id=new_id,
        accept=accept,
        quota_line=problems.quota_line,
        refuse=lambda problem: problems.answer(problem, path=contract.UPDATE_PATH),
        page=ReadyPage(board, origins.always),
        begin_span=tracing.begin_span if tracing else None,
        fields=origins.always,
    )
    backlog = Backlog(committer.window, lambda: starter.workflows)
    metrics = metrics_of(
        settings, committer, hub, health, redis_client, availability, fast_path, backlog
    )

    def around(route: Route) -> Handler:
        answering = problems.answering(route.handler)
        if tracing is None or route.name not in _TRACED:
            return answering
        return tracing.around(f"{route.method} {route.path}", answering)

    groups = (
        ScoresRoutes(board, ranks, learn=fast_path.learn_read),
        SubmissionRoutes(
            parser,
            committer,
            refusals,
            Outcomes(public_redis, public_ledger),
            availability,
            learn=fast_path.learn_submission,
            accept=accept,
            quota=problems.quota,
            tracing=tracing,
        ),
        StreamRoutes(gate, hub, gzip=settings.stream_gzip, fields=fields),
        HealthRoutes(availability),
        ReviewRoutes(
            public_ledger,
            principal=parser.principal,
            client=starter.connected,
            task_queue=settings.task_queue,
        ),
        PlayerRoutes(
            public_ledger,
            principal=parser.principal,
            client=starter.connected,
            new_id=new_id,
            task_queue=settings.task_queue,
        ),
        MetricsRoutes(metrics, open_to_all=settings.metrics_open, principal=parser.principal),
    )
    add_routes(
        app,
        [
            *(route for group in groups for route in group.routes()),
            *pages_routes(behind_proxy=settings.proxies_count > 0),
            *docs_page.routes(
                settings.port, settings.base_path, behind_proxy=settings.proxies_count > 0
            ),
        ],
        base=settings.base_path,
        around=around,
        check_origin=gate.check_origin,
    )

    app.ctx.fields = fields
    app.ctx.refusal_delay_s = RefusedRequests(
        refusals, lambda request: proxies.foreign_address(request.ip, request.headers)
    ).delay_s
    app.ctx.fast_path = fast_path
    app.ctx.life = Life(
        availability=availability,
        committer=committer,
        hub=hub,
        starter=starter,
        background=[
            feed.run,
            hub.run,
            RedisWatch(redis_client, ledger, position).run,
            committer.sweep,
            lambda: committer.window.listen(redis_client),
            lambda: committer.window.look_up(starter.running),
            health.run,
            backlog.run,
            *gate.background(),
            *refresh_keys,
        ],
        closing=[
            board.close,
            ranks.close,
            *([tracing.close] if tracing else []),
            redis_client.aclose,
            public_redis.aclose,
            ledger.close,
            public_ledger.close,
        ],
        drain_notice_s=settings.drain_notice_s,
        drain_timeout_s=settings.drain_timeout_s,
    )
    app.ctx.life.attach(app)
    return app


def _sanic(problems: Problems) -> Sanic[Any, Any]:
    config = Config(env_prefix="")
    config.update(
        {
            "AUTO_EXTEND": False,
            "MOTD": False,
            "ACCESS_LOG": False,
            "REQUEST_MAX_SIZE": MAX_BATCH_BODY_BYTES,
            "GRACEFUL_TCP_CLOSE_TIMEOUT": 2.0,
        }
    )
    return Sanic(
        f"scoreboard-{next(_numbers)}",
        config=config,
        error_handler=problems,
        configure_logging=False,
        strict_slashes=True,
    )


def _authentication(settings: ServerSettings) -> tuple[Authenticator, list[Background]]:
    """What verifies tokens, and what keeps its public keys fresh."""
    secret = shared_secret(settings.jwt_secret) if settings.jwt_secret else None
    older = tuple(shared_secret(each) for each in settings.jwt_secrets_previous)
    sources = [
        Jwks(
            source.place,
            interval_s=settings.jwks_interval_s,
            max_age_s=settings.jwks_max_age_s,
            issuer=source.issuer,
        )
        for source in jwks_sources(settings.jwks)
    ]

    def ask() -> None:
        for source in sources:
            source.ask()

    authenticator = Authenticator(
        Keyring(secret=secret, older=older),
        clock=time.time,
        policy=settings.token_policy,
        on_unknown_key=ask,
    )
    sets: list[KeySet] = [{} for _ in sources]

    def replace_keys(number: int, keys: KeySet) -> None:
        if keys or sets[number]:
            sets[number] = keys
            authenticator.replace_keys(Keyring(secret=secret, older=older, sets=tuple(sets)))

    return authenticator, [
        partial(source.keep_fresh, partial(replace_keys, number))
        for number, source in enumerate(sources)
    ]


def _tracing(settings: ServerSettings, client: redis.Redis) -> "Tracing | None":
    if not settings.otlp_endpoint:
        return None
    # Not at the top: without tracing the packages are neither loaded nor needed.
    from server.observe.tracing import Tracing

    return Tracing(settings.otlp_endpoint, ratio=settings.trace_ratio, redis=client)
