"""Orders of an operator about players, and their form. Not what they do: see `effects`."""

import hashlib
import unicodedata

import msgspec

from scoreboard.domain import MAX_SCORE, MAX_USER_ID, PrincipalName, SubmissionId

NAME_MAX_CHARS = 255
REASON_MAX_CHARS = 200

_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
_TURNS_TEXT = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Reverse the text around them: one name would change how its neighbours read."""


class _Action(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="action",
    rename="camel",
):
    """What all orders have: why it is done, for the audit trail."""

    reason: str


class AddPlayer(_Action, frozen=True, kw_only=True, tag="add"):
    """A new player; without `user_id` the database gives one."""

    name: str
    score: int = 0
    user_id: int | None = None


class RenamePlayer(_Action, frozen=True, kw_only=True, tag="rename"):
    """Another name for a player."""

    user_id: int
    name: str


class SetScore(_Action, frozen=True, kw_only=True, tag="set-score"):
    """Another total for a player."""

    user_id: int
    score: int


class RemovePlayer(_Action, frozen=True, kw_only=True, tag="remove"):
    """Takes a player and their points off the board, for ever."""

    user_id: int


class MergePlayers(_Action, frozen=True, kw_only=True, tag="merge"):
    """Gives the points of one player to another, and removes the first."""

    user_id: int
    into: int


Action = AddPlayer | RenamePlayer | SetScore | RemovePlayer | MergePlayers

FORMS = {
    "add": '{"action": "add", "name": "…", "reason": "…"} with an optional "score" and "userId"',
    "rename": '{"action": "rename", "userId": …, "name": "…", "reason": "…"}',
    "set-score": '{"action": "set-score", "userId": …, "score": …, "reason": "…"}',
    "remove": '{"action": "remove", "userId": …, "reason": "…"}',
    "merge": '{"action": "merge", "userId": …, "into": …, "reason": "…"}',
}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An action under the id that makes it happen once; `actor` is the token's subject."""

    id: SubmissionId
    actor: PrincipalName
    action: Action

    @property
    def digest(self) -> bytes:
        """Tells this action from any other one."""
        return hashlib.blake2b(msgspec.msgpack.encode(self.action), digest_size=16).digest()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Order)


def encode_order(order: Order) -> bytes:
    """The workflow's input."""
    return _encoder.encode(order)


def decode_order(payload: bytes) -> Order:
    """The order in a workflow's input. Raises ValueError on anything else."""
    return _decoder.decode(payload)


def parse_action(value: object) -> Action:
    """The action in a request's body. Raises ValueError with a sentence for the client, which
    repeats nothing of the body."""
    kind = value.get("action") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in FORMS:
        raise ValueError(f"An action is one of {', '.join(FORMS)}.")
    try:
        action: Action = msgspec.convert(value, type=Action)
    except msgspec.ValidationError:
        raise ValueError(f"The body must be {FORMS[kind]} and nothing else.") from None
    if fault := fault_of(action):
        raise ValueError(fault)
    return action


def fault_of(action: Action) -> str | None:
    """What is wrong with an action, as a sentence; None when it may be carried out."""
    named = action.user_id
    ids = [named, action.into] if isinstance(action, MergePlayers) else [named]
    if any(user is not None and not 1 <= user <= MAX_USER_ID for user in ids):
        return f"A user id is a whole number from 1 to {MAX_USER_ID}."
    if isinstance(action, MergePlayers) and action.user_id == action.into:
        return "A player cannot be merged with itself."
    if isinstance(action, AddPlayer | SetScore) and not 0 <= action.score <= MAX_SCORE:
        return f"A score is a whole number from 0 to {MAX_SCORE}."
    if isinstance(action, AddPlayer | RenamePlayer) and not is_text(action.name, NAME_MAX_CHARS):
        return (
            f"A name has 1 to {NAME_MAX_CHARS} characters, not all blank, none a control character."
        )
    if not is_text(action.reason, REASON_MAX_CHARS):
        return f"A reason has 1 to {REASON_MAX_CHARS} characters, none a control character."
    return None


def is_text(text: str, chars_max: int) -> bool:
    """Whether a name or reason can be shown in one line."""
    return (
        len(text) <= chars_max
        and bool(text.strip())
        and _TURNS_TEXT.isdisjoint(text)
        and not any(unicodedata.category(char) in _UNPRINTABLE for char in text)
    )


def gains(action: Action) -> int | None:
    """The user whose points the action may raise; None when it raises nobody's."""
    match action:
        case AddPlayer() | SetScore():
            return action.user_id
        case MergePlayers():
            return action.into
        case _:
            return None
