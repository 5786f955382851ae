"""What a scenario may say of a server's requests, answers and events in code. Not the engines.

The methods of these two classes are what an engine calls; they follow the target file, or the
specification without one. A scenario overrides them on its Locust users to build any request and
read any answer or event. One that is not overridden costs nothing: the engine goes its fast path.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.net.http_wire import SubmissionRequests, stream_request
from harness.targets.answers import AnswerReader, ReadAnswer, ReadEvent, event_reader
from harness.targets.description import (
    Description,
    Stream,
    Submit,
    specified_stream,
    specified_submit,
)
from harness.targets.namesakes import Labels
from harness.targets.requests import BoardReads, StreamRequests, Submissions, Values
from scoreboard.contract import SCORES_PATH
from scoreboard.signing import SigningKey

_specified_answer = AnswerReader(Submit(call=specified_submit(), id="submissionId")).read
_specified_event = event_reader(Stream(call=specified_stream()))


def http_request(
    method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
) -> bytes:
    """The bytes of an HTTP/1.1 request; `headers` must have `Host`."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if body is not None:
        lines += f"Content-Length: {len(body)}\r\n"
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + (body or b"")


LastEventId = int | bytes | None


def own_requests(users: Iterable[type]) -> tuple[bool, bool]:
    """Whether a scenario's users build their own submissions, and their own streams."""
    own = [user for user in users if getattr(user, "request", None) not in _GIVEN]
    return (
        any(issubclass(user, SubmissionHooks) for user in own),
        any(issubclass(user, StreamHooks) for user in own),
    )


def board_reads(
    server: Description | None, users: Iterable[Values], host_header: str
) -> Callable[[int, str], bytes]:
    """Builds the GET of read n of the board, conditional with an ETag."""
    if server is not None:
        return BoardReads(server, list(users)).make

    def make(_number: int, etag: str) -> bytes:
        condition = {"If-None-Match": etag} if etag else {}
        return http_request("GET", SCORES_PATH, {"Host": host_header, **condition})

    return make


class SubmissionHooks:
    """Requests and answers of submissions.

    `values` has what the target file says of each user (`user`, `name`, `token`, columns of its
    file), by number from 1; `tokens` the tokens of a server without one; `host_header` the `Host`.
    """

    def __init__(self) -> None:
        self.values: Mapping[int, Values] = {}
        self.tokens: Mapping[int, str] = {}
        self.host_header = ""
        self.run_id = ""
        self._make: Callable[[int, int, int], bytes] | None = None
        self._reader: ReadAnswer | None = None

    def request(self, number: int, user: int, increment: int) -> bytes:
        """The whole request of submission `number`: override to send anything else.

        `increment` must be what the server adds, for the verdict counts with it.
        """
        assert self._make is not None
        return self._make(number, user, increment)

    def answer(self, status: int, body: bytes) -> tuple[str, bytes | None]:
        """Outcome ("ok", "fail": certainly without effect, "unknown") and submission id, if any."""
        assert self._reader is not None
        return self._reader(status, body)

    def bind(
        self,
        *,
        server: Description | None,
        users: Mapping[int, Values],
        tokens: Mapping[int, str],
        host_header: str,
        run_id: str,
        signing_key: SigningKey | None,
    ) -> tuple[Callable[[int, int, int], bytes], ReadAnswer | None]:
        """What the engine calls: for a request, and for an answer unless it reads it itself."""
        self.values, self.tokens = users, tokens
        self.host_header, self.run_id = host_header, run_id
        if server is None:
            self._make = SubmissionRequests(
                host_header=host_header,
                tokens=tokens,
                run_id=run_id,
                signing_key=signing_key,
            ).make
            self._reader = _specified_answer
        else:
            self._make = Submissions(server, users, run_id=run_id, signing_key=signing_key).make
            self._reader = AnswerReader(server.submit).read
        overridden = type(self).answer is not SubmissionHooks.answer
        return (
            self.request if type(self).request is not SubmissionHooks.request else self._make,
            self.answer if overridden else (self._reader if server is not None else None),
        )


class StreamHooks:
    """Requests and events of streams. `values` and `tokens` as in `SubmissionHooks`, in turn."""

    def __init__(self) -> None:
        self.values: Sequence[Values] = ()
        self.tokens: Sequence[str] = ()
        self.host_header = ""
        self._make: Callable[[int, LastEventId], bytes] | None = None
        self._reader: ReadEvent | None = None

    def request(self, listener: int, last_event_id: LastEventId) -> bytes:
        """The GET of one listener, from after an id where it has one: override to ask otherwise.

        The id is a number where a server numbers its changes, else the bytes that it sent.
        """
        assert self._make is not None
        return self._make(listener, last_event_id)

    def event(self, name: str, data: bytes) -> list[tuple[str, int]] | None:
        """Users and new scores in an event, None for one that shows none. ValueError: it is broken.

        Events of one name and content are read once, however many listeners receive them.
        """
        assert self._reader is not None
        return self._reader(name, data)

    def bind(
        self,
        *,
        server: Description | None,
        users: Sequence[Values],
        tokens: Sequence[str],
        host_header: str,
        gzip: bool,
        labels: Labels,
    ) -> tuple[Callable[[int, LastEventId], bytes] | None, ReadEvent | None]:
        """What the engine calls, None for what it does itself."""
        self.values, self.tokens = users, tokens
        self.host_header = host_header
        self._reader = _specified_event
        if server is None:
            self._make = self._as_specified(gzip=gzip)
        else:
            streams, values = StreamRequests(server), self.values
            self._make = lambda listener, after: streams.make(
                values[listener % len(values)], after, gzip=gzip
            )
            self._reader = event_reader(server.stream, labels)
        own = type(self)
        foreign = server is not None
        return (
            self.request
            if own.request is not StreamHooks.request
            else (self._make if foreign else None),
            self.event if own.event is not StreamHooks.event else self._reader if foreign else None,
        )

    def _as_specified(self, *, gzip: bool) -> Callable[[int, LastEventId], bytes]:
        def make(listener: int, after: LastEventId) -> bytes:
            token = self.tokens[listener % len(self.tokens)] if self.tokens else ""
            return stream_request(self.host_header, after, token, gzip=gzip)

        return make


_GIVEN = (None, SubmissionHooks.request, StreamHooks.request)
