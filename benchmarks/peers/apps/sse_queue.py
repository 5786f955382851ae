"""Peer "queue": an SSE server on Sanic with a queue and a task per client."""

from typing import Any

from sanic import Sanic

from benchmarks.peers.apps.common import peer_settings, run
from benchmarks.peers.apps.pubsub import serve_stream

settings = peer_settings()
app: "Sanic[Any, Any]" = Sanic("queue")
serve_stream(app, settings.redis)

if __name__ == "__main__":
    run(app, settings)
