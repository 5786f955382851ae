"""An address and its handler. Not Sanic's router: the application adds these to it."""

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from sanic.response import HTTPResponse

Handler = Callable[..., Coroutine[Any, Any, HTTPResponse]]
"""Takes the request and the path's parameters; refuses by raising a Problem."""


class Route(NamedTuple):
    """One method at one path; `name` is unique in the application."""

    method: str
    path: str
    name: str
    handler: Handler
