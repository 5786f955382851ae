"""Groups of listeners that are written to together, and whose turn is next. Pure.

Each group has its own flush interval, and the turns are spread evenly over it: no group waits for
another, and other work runs in between. Not the writing: see `hub`.
"""

from server.stream.flush_interval import flush_interval_s
from server.stream.gzip_trailer import Check
from server.stream.listener import Listener

LISTENERS_PER_GROUP = 500
"""Written to before other work gets a turn: 3 to 5 milliseconds."""


class Group:
    """Listeners at the same cursor, except for new and lagging ones.

    `took_s` is the duration of the last write to them; no write starts before `not_before`.
    `check` covers everything that the whole group was sent with gzip.
    """

    __slots__ = ("check", "cursor", "listeners", "not_before", "took_s")

    def __init__(self, cursor: int) -> None:
        # A dict keeps the order of arrival, so each write reaches listeners in the same order.
        self.listeners: dict[Listener, None] = {}
        self.cursor = cursor
        self.check = Check()
        self.not_before = 0.0
        self.took_s = 0.0


class Groups:
    """All groups of a hub. `now` is any monotonic clock's, in seconds."""

    def __init__(self, now: float) -> None:
        self._groups: list[Group] = []
        self._slot = now

    def add(self, listener: Listener, cursor: int) -> Group:
        """Put a listener into the first group with room; a new group stands at `cursor`."""
        for group in self._groups:
            if len(group.listeners) < LISTENERS_PER_GROUP:
                break
        else:
            group = Group(cursor)
            self._groups.append(group)
        group.listeners[listener] = None
        return group

    def remove(self, listener: Listener, group: Group) -> bool:
        """Take a listener out of its group; True when that group is gone with it."""
        del group.listeners[listener]
        if group.listeners:
            return False
        self._groups.remove(group)
        return True

    def move_to(self, cursor: int) -> None:
        """Let every group continue after `cursor`."""
        for group in self._groups:
            group.cursor = cursor

    def slowest(self, end: int) -> int:
        """The lowest cursor of any group; `end` without groups."""
        return min((group.cursor for group in self._groups), default=end)

    def next(self, end: int) -> Group | None:
        """Of the groups behind `end`, the one whose turn is next."""
        return min(
            (group for group in self._groups if group.cursor < end),
            key=lambda group: group.not_before,
            default=None,
        )

    def wait_s(self, now: float) -> float:
        """Seconds until some group may be written to."""
        soonest = min((group.not_before for group in self._groups), default=0.0)
        return max(0.0, soonest - now)

    def written(
        self, group: Group, *, began: float, took_s: float, listeners: int, usual_max_s: float
    ) -> None:
        """Schedule the next turn of a group that was just written to, from `began` on."""
        if not self._groups:
            # Its last listener has left in between.
            return
        group.took_s = took_s
        all_took_s = sum(each.took_s for each in self._groups)
        period_s = flush_interval_s(listeners, usual_max_s, all_took_s)
        # The first writes after a quiet time follow each other at once; from then on turns are
        # spread over the period, so that the load is as even as the changes are.
        self._slot = min(max(self._slot + period_s / len(self._groups), began), began + period_s)
        group.not_before = self._slot + period_s
