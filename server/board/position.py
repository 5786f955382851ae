"""How far the board has been shown, and in which history. Shared by the hub and the board."""


class BoardPosition:
    """Only the hub moves it. `known` once the hub knows where the board stands.

    `seq` is the last change that listeners were sent; no page may be older. `history` counts
    replaced histories: anything read in an earlier one is no longer true. `behind` and
    `forked` are kept by `redis_watch`: Redis lacks what others may have shown; MySQL has other
    changes than were shown.
    """

    __slots__ = ("behind", "forked", "history", "known", "seq")

    def __init__(self) -> None:
        self.known = False
        self.behind = False
        self.forked = False
        self.seq = 0
        self.history = 0
