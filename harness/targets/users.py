"""The users of a run by a description: their values for placeholders, tokens included.

Tokens are minted here: 20 µs each with HS256, about a millisecond with a 2048-bit RSA key.
"""

import warnings
from collections.abc import Mapping
from typing import Any

from harness.targets import template
from harness.targets.description import Description, Token
from harness.targets.template import Moment, Value

TTL_S = 24 * 3600
DEFAULT_CLAIMS: Mapping[str, Any] = {
    "sub": "{user:text}",
    "iat": "{now}",
    "exp": f"{{now+{TTL_S}}}",
}


class BadToken(ValueError):
    """The key does not fit the algorithm."""


def user_values(description: Description, count: int, now_s: int) -> dict[int, dict[str, Value]]:
    """Values of users 1 to `count`, or of as many as the file has. Raises BadToken."""
    users = description.users
    rows = users.rows
    wanted = min(count, len(rows)) if rows else count
    moment = Moment(now_ns=now_s * 1_000_000_000)
    minted = _Mint(description.token, moment) if description.token else None
    found: dict[int, dict[str, Value]] = {}
    for number in range(1, wanted + 1):
        values: dict[str, Value] = {**(rows[number - 1] if rows else {}), "number": number}
        user = _render(users.id, values)
        # A number in a file is a number in JSON, as an id of a database is.
        values["user"] = int(user) if user.isdecimal() and str(int(user)) == user else user
        values["name"] = _render(users.name, values) if users.name else values.get("name", user)
        if minted is not None:
            values["token"] = minted.token(values)
        elif users.token:
            values["token"] = _render(users.token, values)
        del values["number"]
        found[number] = values
    return found


def knows_names(description: Description) -> bool:
    """Whether the description says how the board calls each user."""
    users = description.users
    return bool(users.name) or any("name" in row for row in users.rows[:1])


def _render(text: str, values: Mapping[str, Value]) -> str:
    number = values["number"]
    assert isinstance(number, int)
    steps = template.filled(template.program(text, template.in_text), values)
    return template.render(steps, Moment(number=number)).decode()


class _Mint:
    """Signs tokens for users."""

    def __init__(self, token: Token, moment: Moment) -> None:
        self._token = token
        self._moment = moment
        self._claims = template.json_program(token.claims)
        self._header = template.json_program(token.header)
        self._key: Any = token.key
        if token.algorithm != "none" and not token.algorithm.startswith("HS"):
            self._key = private_key(token.key)

    def token(self, values: Mapping[str, Value]) -> str:
        """The token of one user."""
        import json

        import jwt

        claims, header = (
            json.loads(template.render(template.filled(steps, values), self._moment))
            for steps in (self._claims, self._header)
        )
        with warnings.catch_warnings():
            # Short secrets are the server's affair.
            warnings.simplefilter("ignore")
            try:
                return jwt.encode(
                    claims,
                    "" if self._token.algorithm == "none" else self._key,
                    algorithm=self._token.algorithm,
                    headers=header or None,
                )
            except (jwt.PyJWTError, TypeError, ValueError) as error:
                raise BadToken(f"no {self._token.algorithm} token can be made: {error}") from None


def private_key(pem: str) -> Any:
    """The private key in a PEM text. Raises BadToken."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadToken(f"no private key in PEM without password: {error}") from None
