"""The planted lies that every literal server knows by these names. Data only.

`README.md` shows this table; each server has the behaviour in its own language.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Lie:
    """What a server does instead, and the observation that convicts it.

    `standing` lies begin with submission number LIE_EVERY and last; the others happen to one
    submission in LIE_EVERY.
    """

    does: str
    convicted_by: str
    standing: bool = False


LIES = {
    "lose-accepted": Lie(
        does="acknowledges a submission and never applies it",
        convicted_by="no event adds this increment to this user, and the final score lacks it",
    ),
    "apply-twice": Lie(
        does="applies a submission twice, with an event for each",
        convicted_by="two events add the increment of one submission",
    ),
    "wrong-user": Lie(
        does="adds the increment to another user",
        convicted_by="an event raises a user by an increment that was submitted for another",
    ),
    "wrong-amount": Lie(
        does="adds one point more than the increment",
        convicted_by="an event adds an amount that nobody submitted",
    ),
    "lost-update": Lie(
        does="adds the increment to the score before the user's previous increment",
        convicted_by="the user's score lacks an increment that an earlier event showed",
    ),
    "refused-but-applied": Lie(
        does="answers 422, yet applies the submission",
        convicted_by="an event adds an increment that was only ever refused",
    ),
    "never-shown": Lie(
        does="applies a submission without an event",
        convicted_by="no event shows it; the user's next event rises by two increments",
    ),
    "shown-twice": Lie(
        does="sends the event of a submission twice to everyone",
        convicted_by="a listener has the same score of the user twice in a row",
    ),
    "shown-for-another": Lie(
        does="names another user in the event; the board is right",
        convicted_by="a user shows a score that no submissions for this user add up to",
    ),
    "shown-wrong-score": Lie(
        does="shows one point more in the event; the board is right",
        convicted_by="an event adds an amount that nobody submitted",
    ),
    "invented-event": Lie(
        does="also sends an event that another user gained a point",
        convicted_by="an event without any submission",
    ),
    "reordered": Lie(
        does="sends a user's event after the user's next one",
        convicted_by="the score falls, though nobody submitted a loss",
    ),
    "torn-event": Lie(
        does="cuts the data line of an event in half",
        convicted_by="the data of an event is not the JSON that the contract names",
    ),
    "one-listener-misses": Lie(
        does="does not send an event to the listener connected longest",
        convicted_by="this listener lacks an event that every other one has",
    ),
    "one-listener-twice": Lie(
        does="sends an event twice to the listener connected longest",
        convicted_by="this listener has an event twice that every other one has once",
    ),
    "silent-listener": Lie(
        does="sends nothing more to the listener connected longest, and keeps it connected",
        convicted_by="one open stream without events while the others receive them",
        standing=True,
    ),
    "late-events": Lie(
        does="sends every event two seconds late",
        convicted_by="no check of correctness; the time from submission to listener",
        standing=True,
    ),
    "stale-board": Lie(
        does="answers `GET /scores` with the board of that moment for ever",
        convicted_by="the final board lacks scores that events showed",
        standing=True,
    ),
    "board-wrong-score": Lie(
        does="answers `GET /scores` with one point more for the first",
        convicted_by="the final board's score of this user is not that of the last event",
        standing=True,
    ),
    "board-wrong-order": Lie(
        does="answers `GET /scores` with the first and the last line exchanged",
        convicted_by="the scores of the board do not descend",
        standing=True,
    ),
    "board-leaves-out": Lie(
        does="answers `GET /scores` without the highest score",
        convicted_by="a user whose last event shows a higher score is not on the final board",
        standing=True,
    ),
}
