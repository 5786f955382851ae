"""Which verdict each literal server deserves, whether a run gave it, and the table of all. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.peers.literal.lies import LIES
from harness.measure.machine import commit_of

SECTION = "literal"
"""The name of the section in RESULTS.md and of the file kept for it."""
HONEST = ""
"""The lie of an honest server."""
LATE_US = 1_900_000
CONVICTED_BY: Mapping[str, Sequence[str]] = {
    "lose-accepted": ("I1",),
    "apply-twice": ("I1",),
    "wrong-user": ("I1", "I2"),
    "wrong-amount": ("I1", "I2"),
    "lost-update": ("I1", "I2"),
    "refused-but-applied": ("I1",),
    "never-shown": ("I1",),
    "shown-twice": ("I5",),
    "shown-for-another": ("I1", "I2"),
    "shown-wrong-score": ("I1", "I2"),
    "invented-event": ("I1", "I2"),
    "reordered": ("I2", "I5"),
    "torn-event": ("I5",),
    "one-listener-misses": ("I5",),
    "one-listener-twice": ("I5",),
    "silent-listener": ("I5",),
    "stale-board": ("I3",),
    "board-wrong-score": ("I3",),
    "board-wrong-order": ("I3",),
    "board-leaves-out": ("I3",),
}
"""The invariants that a lie may break. `late-events` breaks none: its lag shows."""
NAMELESS = ("torn-event",)
"""A lie that hides whom it is about."""
OF_ANOTHER = ("wrong-user", "shown-for-another", "invented-event")
"""Lies about the user before the one who submitted."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run against one server, and whether its verdict is the deserved one."""

    language: str
    lie: str
    seed: int
    exit_code: int
    held: bool
    said: str
    commit: str = ""


def judged(
    language: str,
    lie: str,
    seed: int,
    exit_code: int,
    document: Mapping[str, Any],
    told: Sequence[Mapping[str, str]],
) -> Trial:
    """What a run's result says, against what the server did. `told` are its single lies."""
    false = [f for f in document.get("findings", ()) if f["verdict"] == "false"]
    said = [f"{f['invariant']}: {text}" for f in false for text in f["explanations"]]
    if lie in (HONEST, "late-events"):
        median = document.get("figures", {}).get("submit_deliver_first_p50")
        held = exit_code == 0 and median is not None and (median > LATE_US) == (lie != HONEST)
        said = said or [f"median from submission to the first listener: {median} µs"]
    else:
        proofs = [text for text in said if text.split(" ")[0].rstrip(":") in CONVICTED_BY[lie]]
        named = [text for text in proofs if _names(text, told)]
        if LIES[lie].standing or lie in NAMELESS:
            named = proofs
        held = exit_code == 1 and bool(named)
        said = named + said
    return Trial(
        language=language,
        lie=lie,
        seed=seed,
        exit_code=exit_code,
        held=held,
        said=said[0] if said else str(document.get("verdict", "no result")),
    )


def _names(text: str, told: Sequence[Mapping[str, str]]) -> bool:
    """Whether a sentence names the user and the increment of a lie, or the user alone."""
    return any(
        f"+{each['increment']} " in text or any(name in text for name in _about(each))
        for each in told
    )


def _about(told: Mapping[str, str]) -> list[str]:
    """The users that a lie is about."""
    user = told["user"]
    if told["lie"] not in OF_ANOTHER:
        return [user]
    number = {"Alice": 1, "Bob": 2}.get(user) or int(user.removeprefix("User"))
    another = number - 1 if number > 1 else 2
    return [user, {1: "Alice", 2: "Bob"}.get(another, f"User{another:05d}")]


def document(
    trials: Sequence[Trial], machine: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """All that was run."""
    return {
        "version": 1,
        "machine": dict(machine),
        "settings": dict(settings),
        "trials": [asdict(trial) for trial in trials],
    }


def markdown(document: Mapping[str, Any], file: str) -> str:
    """The section of RESULTS.md; `file` is where the trials are kept."""
    machine = document["machine"]
    trials = [Trial(**trial) for trial in document["trials"]]
    languages = sorted({trial.language for trial in trials})
    commits = dict.fromkeys(trial.commit or commit_of(machine) for trial in trials)
    lines = [
        "## Servers of others: the specification word for word",
        "",
        "`python -m benchmarks.peers.literal` runs `scoreboard load` against"
        " [honest servers that know the specification alone](benchmarks/peers/literal/README.md),"
        " and against the same servers with one planted lie. An honest one must be acquitted with"
        " exit code 0 and have its times from submission to listener told; a lying one must be"
        " convicted with exit code 1, by a sentence of the right promise that names a user of the"
        f" lie. {document['settings']['load']}; commit {', '.join(commits)}, {machine['cpus']} ×"
        f" {machine['cpu']}. Result file: [`{file}`]({file}).",
        "",
        f"| planted | {' | '.join(languages)} | one of the sentences |",
        f"|---|{'--:|' * len(languages)}---|",
    ]
    for lie in (HONEST, *LIES):
        of_lie = [trial for trial in trials if trial.lie == lie]
        if not of_lie:
            continue
        cells = []
        for language in languages:
            here = [trial.held for trial in of_lie if trial.language == language]
            cells.append(f"{sum(here)} of {len(here)}" if here else "–")
        # The shortest says the same with less.
        said = min((trial.said for trial in of_lie if trial.held), key=len, default="–")
        said = said.replace("|", "\\|")
        lines.append(f"| {lie or 'nothing'} | {' | '.join(cells)} | {said} |")
    if missed := [trial for trial in trials if not trial.held]:
        lines += ["", "Runs without the deserved verdict:", ""]
        lines += [
            f"- {trial.language}, {trial.lie or 'honest'}, seed {trial.seed}, exit code"
            f" {trial.exit_code}: {trial.said}"
            for trial in missed
        ]
    return "\n".join(lines)
