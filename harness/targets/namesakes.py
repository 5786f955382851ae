"""Players who share a name, told apart by the ids that rows and events carry. Pure.

Everything that judges a run knows a user by name. So where several players share one, each is
called by a label, `Alice (user 3)`, from the first look at the board on: in reads, events and the
database alike. Servers that send no ids are not meant: their players are told apart by content.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

ID = "userId"
Labels = Mapping[int, str]
"""By user id. Empty where no two players share a name."""


def labels_of(users: Iterable[tuple[int, str]]) -> dict[int, str]:
    """The labels of those who share a name; nobody else has one."""
    known = dict(users)
    bearers = Counter(known.values())
    return {user: f"{name} (user {user})" for user, name in known.items() if bearers[name] > 1}


def id_in(row: Any) -> int | None:
    """The id of the user that a row is about, where it says so."""
    user = row.get(ID) if isinstance(row, Mapping) else None
    return user if isinstance(user, int) else None


def labelled(
    rows: Iterable[tuple[str, int]], ids: Iterable[int | None], labels: Labels
) -> list[tuple[str, int]]:
    """Users and scores, those who share a name under their labels."""
    return [
        (name if user is None else labels.get(user, name), score)
        for (name, score), user in zip(rows, ids, strict=True)
    ]
