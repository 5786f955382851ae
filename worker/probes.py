"""A separate worker's HTTP port: `/metrics`, `/healthz` (its loop turns), `/readyz` (it can work).

Answered on a thread of its own, so that a loop that hangs is found out. Not how an API process
does it: see `server.routes`.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import REGISTRY

BEAT_INTERVAL_S = 1.0
HUNG_AFTER_S = 20.0
"""A loop that has not turned for so long is not busy, it hangs."""

ANSWER_TIMEOUT_S = 5


class WorkerState:
    """What the port tells; set by the worker's loop, read by the port's thread."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beat_at = clock()
        self.polling = False
        """Whether the worker takes work from its queue."""
        self.missing: Callable[[], tuple[str, ...]] = lambda: ()
        """The services that cannot do this worker's work now."""

    async def beat(self) -> None:
        """Show that the loop turns, until cancelled."""
        while True:
            self._beat_at = self._clock()
            await asyncio.sleep(BEAT_INTERVAL_S)

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body of a GET."""
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY)
        hung_s = self._clock() - self._beat_at
        if path == "/healthz":
            alive = hung_s < HUNG_AFTER_S
            state = {"status": "alive" if alive else f"the event loop hangs since {hung_s:.0f} s"}
            return 200 if alive else 503, "application/json", json.dumps(state).encode()
        if path == "/readyz":
            parts = [*self.missing(), *([] if self.polling else ["worker"])]
            body = json.dumps({"status": "not ready" if parts else "ready", "parts": parts})
            return 503 if parts else 200, "application/json", body.encode()
        return 404, "text/plain", b"/metrics, /healthz, /readyz\n"


@contextmanager
def serving_probes(host: str, port: int, state: WorkerState) -> Iterator[None]:
    """Answer on a thread of its own; does nothing for port 0.

    Raises OSError when the address cannot be had.
    """
    if not port:
        yield
        return

    class Handler(BaseHTTPRequestHandler):
        timeout = ANSWER_TIMEOUT_S

        def do_GET(self) -> None:
            status, kind, body = state.answer(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
