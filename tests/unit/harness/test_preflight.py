"""What a refusal before the run, or of every submission in it, tells the user to do."""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.measure.series import Series
from harness.net.preflight import preflight, refusal
from harness.net.target import Target, TargetError, find_target, get_scores
from harness.run.board_watch import refused_alike


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "SCOREBOARD_JWT_SECRET"),
        (404, "is this the address of a scoreboard"),
        (429, "SCOREBOARD_RATE_LIMIT_COUNT"),
        (503, "/readyz"),
        (418, "is this the address of a scoreboard"),
    ],
)
def test_refusal_has_the_status_and_what_to_do(status: int, told: str) -> None:
    words = refusal("POST /scores/update", status)

    assert f"answered with {status}" in words
    assert told in words


class Answering(BaseHTTPRequestHandler):
    """Whole answers, without a log."""

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served_by(handler: type[Answering]) -> Iterator[str]:
    """The address at which the handler answers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextmanager
def serving(answer: Callable[[dict[str, Any]], int]) -> Iterator[tuple[Target, list[Any]]]:
    """A server with an empty board that answers a submission's JSON with a status (0: not at all),
    and the submissions that it has seen."""
    seen: list[Any] = []

    class Handler(Answering):
        def do_GET(self) -> None:
            self.answer(200, b"[]")

        def do_POST(self) -> None:
            seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if status := answer(seen[-1]):
                self.answer(status, b"{}")

    with served_by(Handler) as url:
        yield Target(base_url=url, secret=b"s" * 32), seen


@pytest.mark.parametrize("status", [0, 400, 404, 405, 409, 411, 415, 422, 500, 502])
def test_server_is_not_refused_for_its_answer_to_a_body_that_no_client_sends(status: int) -> None:
    with serving(lambda _: status) as (target, seen):
        preflight(target, token="t")

    assert seen == [{}]


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("then", [200, 400, 422, 500])
def test_body_without_a_user_may_be_refused_as_that_of_somebody_else(
    status: int, then: int
) -> None:
    with serving(lambda body: then if body.get("userId") == 1 else status) as (target, seen):
        preflight(target, token="t")

    assert seen == [{}, {"userId": 1, "increment": 0}]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (307, "give that address as --host"),
        (401, "set SCOREBOARD_JWT_SECRET"),
        (403, "the token's subject, the user's id, may not do this there: give its users"),
        (429, "raise SCOREBOARD_RATE_LIMIT_COUNT"),
        (503, "wait until /readyz answers 200"),
    ],
)
def test_refusal_of_whatever_is_sent_ends_a_run_before_load(status: int, told: str) -> None:
    with serving(lambda _: status) as (target, _), pytest.raises(TargetError) as error:
        preflight(target, token="t")

    assert f"POST /scores/update was answered with {status}" in str(error.value)
    assert told in str(error.value)


@contextmanager
def board_of(answers: Mapping[str, tuple[int, bytes]]) -> Iterator[str]:
    """A server that answers GET by its request target: with a status and a body."""

    class Handler(Answering):
        def do_GET(self) -> None:
            self.answer(*answers.get(self.path, (404, b"")))

    with served_by(Handler) as url:
        yield url


TWO = b'[{"user":"Ann","score":7},{"user":"Bo","score":"5"}]'
ROWS = [("Ann", 7), ("Bo", 5)]


@pytest.mark.parametrize("base", ["", "/api"])
def test_server_that_knows_no_pages_is_asked_for_none(base: str) -> None:
    with board_of({f"{base}/scores": (200, TWO)}) as url:
        target = find_target(host=url + base, mysql_url="", environ={}, folder=Path("/nowhere"))
        assert target is not None
        shown = preflight(target)

        assert (shown.page_rows, shown.limit, shown.offset) == (2, False, False)
        assert get_scores(target.as_shown(shown)).rows == ROWS


@pytest.mark.parametrize("base", ["", "/api"])
def test_server_that_knows_pages_is_asked_for_them(base: str) -> None:
    path = f"{base}/scores"
    answers = {
        path: (200, TWO),
        f"{path}?limit=1": (200, TWO[:25] + b"]"),
        f"{path}?limit=1&offset=0": (200, TWO[:25] + b"]"),
        f"{path}?limit=1&offset=1": (200, b"[" + TWO[26:]),
        f"{path}?limit=10&offset=0": (200, TWO),
    }
    with board_of(answers) as url:
        target = find_target(host=url + base, mysql_url="", environ={}, folder=Path("/nowhere"))
        assert target is not None
        shown = preflight(target)

        assert (shown.limit, shown.offset) == (True, True)
        del answers[path]
        assert get_scores(target.as_shown(shown)).rows == ROWS


def test_board_without_rows_may_be_null() -> None:
    with board_of({"/scores": (200, b"null")}) as url:
        target = Target(base_url=url, secret=b"s" * 32)
        shown = preflight(target)

        assert shown.page_rows == 0
        assert get_scores(target.as_shown(shown)).rows == []


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, b'{"scores": []}', "the answer is not as specified: no list: describe it in a file"),
        (200, b'[{"name": "Ann"}]', "no 'user': describe it in a file, --target; `scoreboard targ"),
        (200, b'[{"user": "Ann", "score": null}]', "the score of Ann is no whole number: None"),
        (200, b"<html>", "the answer is no JSON"),
        (401, b"", "its board needs a token: auth = true of [scores]"),
        (403, b"", "its board needs a token: auth = true of [scores]"),
    ],
)
def test_board_that_cannot_be_read_ends_a_run_before_load(
    status: int, body: bytes, told: str
) -> None:
    with board_of({"/scores": (status, body)}) as url, pytest.raises(TargetError) as error:
        preflight(Target(base_url=url, secret=b"s" * 32))

    assert "preflight: GET /scores" in str(error.value)
    assert told in str(error.value)


@pytest.mark.parametrize("status", [401, 403])
def test_stream_that_is_refused_without_a_token_is_asked_for_with_one(status: int) -> None:
    answers = {"/scores": (200, b"[]"), "/scores/stream": (status, b"")}
    with board_of(answers) as url, pytest.raises(TargetError, match="--stream-auth"):
        preflight(Target(base_url=url, secret=b"s" * 32), stream_token="")


def refused(**counters: int) -> Series:
    series = Series()
    series.seconds[3].counters.update(counters)
    return series


def test_submissions_that_are_all_refused_alike_end_a_run() -> None:
    words = refused_alike(refused(fail=60, status_401=60))

    assert words.startswith("all 60 submissions were refused with 401")
    assert "SCOREBOARD_JWT_SECRET" in words


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (404, "is this the address of a scoreboard"),
        (415, "describe the requests that it takes in a file, --target"),
        (422, "describe the requests that it takes in a file, --target"),
    ],
)
def test_end_of_a_refused_run_says_what_to_set(status: int, told: str) -> None:
    words = refused_alike(refused(fail=60, **{f"status_{status}": 60}))

    assert f"were refused with {status}" in words
    assert told in words


def test_signed_run_that_is_refused_is_not_told_to_sign() -> None:
    series = refused(fail=60, status_401=60)

    assert "give --signing-key" in refused_alike(series)
    assert "give --signing-key" not in refused_alike(series, signed=True)
    assert "check --signing-key" in refused_alike(series, signed=True)


@pytest.mark.parametrize(
    "counters",
    [
        {"fail": 10, "status_401": 10},
        {"fail": 60, "status_401": 60, "ok": 1},
        {"fail": 60, "status_401": 30, "status_429": 30},
        {"fail": 60, "status_503": 60},
        {"unknown": 60, "status_503": 60},
    ],
)
def test_few_or_different_refusals_do_not_end_a_run(counters: dict[str, int]) -> None:
    assert refused_alike(refused(**counters)) == ""


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("http://localhost:3102", True),
        ("localhost:3102", True),
        ("http://127.0.0.1:3102/", True),
        ("http://localhost:3103", False),
        ("http://elsewhere:3102", False),
    ],
)
def test_running_stack_is_known_by_every_name_of_this_machine(
    tmp_path: Path, host: str, ours: bool
) -> None:
    (tmp_path / ".scoreboard").mkdir()
    (tmp_path / "secret").write_text("s" * 64)
    state = {
        "ready": True,
        "supervisor_pid": os.getpid(),
        "base_url": "http://127.0.0.1:3102",
        "jwt_secret_file": str(tmp_path / "secret"),
        "urls": {"mysql": "mysql://u@h/d"},
    }
    (tmp_path / ".scoreboard" / "state.json").write_text(json.dumps(state))

    target = find_target(host=host, mysql_url="", environ={}, folder=tmp_path)

    assert target is not None
    assert (target.secret == b"s" * 64) is ours
    assert (target.mysql_url != "") is ours
