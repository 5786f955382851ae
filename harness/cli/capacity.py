"""`scoreboard capacity`: the greatest load within limits, and the bottleneck at that load.

Doubles, bisects and confirms with repeats: over the submission rate, over
listeners, or over the frontier of both. Fits the Universal Scalability Law where
there are enough points.
"""

import bisect
import calendar
import contextlib
import os
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from harness.cli.load import given_words, run_options, session_options
from harness.measure.machine import fingerprint
from harness.measure.quantities import parse_seconds
from harness.measure.settings import OPTIONS, RunSettings, read_signing_key, settings_from
from harness.measure.slo import canonical, load_slo, unmeasurable, with_defaults
from harness.measure.terminal import Ink, duration, number
from harness.net.target import Target, TargetError, find_target
from harness.report.document import CapacityResult, Machine, Search, SearchPlan, SearchStep
from harness.report.result_files import keep_result
from harness.run.seeding import look_before
from harness.sessions.capacity import (
    Capacity,
    CapacityTrial,
    FailsAlike,
    Plan,
    convictions,
    limiting,
    rate_text,
    scalability,
    tells,
)
from harness.sessions.managed_stack import own_stack
from harness.traffic.credentials import credentials
from harness.wrong_use import check_run, described, reachable, warn_if_insecure, writable
from scoreboard_cli.group import BAD, COULD_NOT_TELL, GOOD, CommandError, command, given, refuse
from scoreboard_cli.types import FOLDER, Number, parsed, whole

REPEATED = (
    *("slo", "over", "rate", "listeners", "start", "most"),
    *("duration", "warmup", "precision", "repeats"),
)
TIME = parsed("SECONDS", parse_seconds)
SLO = "p99<500ms,lag_p99<1s,errors<0.1%"
"""Without --slo, and without what the server cannot show."""
OWN = frozenset({"rate", "listeners", "slo", "duration_s", "warmup_s", "results"})
"""Options of a run that mean something else here."""


def _limits(text: str) -> str:
    try:
        return with_defaults(text)
    except OSError as error:
        raise ValueError(
            f"{text!r} names no limit and no file of limits: {error.strerror}"
        ) from None


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
        if min(counts) < 0:
            raise ValueError
    except ValueError:
        raise ValueError(f"must be N or N,N,…, not {text!r}") from None
    return counts


@command("capacity")
@session_options
@click.option("--slo", type=parsed("LIMITS", _limits), help=f"The limits ({SLO}).")
@click.option(
    "--over",
    type=click.Choice(["rate", "listeners", "both"]),
    default="rate",
    help="What is raised (rate).",
)
@click.option(
    "--rate", type=whole(least=1), default=1000, help="Fixed rate with --over listeners (1000)."
)
@click.option(
    "--listeners",
    type=parsed("N,N,…", _counts),
    default="1000",
    help="Fixed listeners with --over rate; several for the frontier (1000).",
)
@click.option("--start", type=whole(least=1), default=500, help="First load tried (500).")
@click.option("--most", type=whole(least=1), default=15_000, help="Greatest load tried (15000).")
@click.option("--duration", type=TIME, default=10.0, help="Length of a trial (10).")
@click.option("--warmup", type=TIME, default=3.0, help="Warm-up of a trial (3).")
@click.option(
    "--precision",
    type=Number("SHARE", above=0, most=1, whole=False),
    default=0.1,
    help="How closely the border is found (0.1).",
)
@click.option("--repeats", type=whole(least=1), default=3, help="Trials that confirm it (3).")
@click.option("--results", type=FOLDER, default=Path("results"), help="Folder for the result.")
@partial(run_options, without=OWN)
def capacity(
    listeners: list[int], over: str, rate: int, host: str | None, results: Path, **options: Any
) -> int:
    """Find the greatest load that stays within limits, and the bottleneck at that load.

    Doubles, bisects and confirms with repeats: over the submission rate, over listeners, or over
    the frontier of both. Fits the Universal Scalability Law where there are enough points.

    Every other option is as in `scoreboard load`, and goes to every trial. The search stops when
    trials fail alike, whatever the load.

    Exit codes: 0 a load was confirmed, 1 none stayed within the limits, 2 wrong use, 3 nothing
    could be measured, or the search was interrupted.
    """
    options["slo"] = options["slo"] or ""
    _of_this_search(over, options)
    settings = _checked(options, over, max(listeners))
    check_run(settings, workers=options["workers"])
    writable("--results", results)
    server = described(settings.target, host)
    warn_if_insecure(server)
    if server is not None or host is not None:
        reachable(server.address.url if server else str(host))
    asked = {"over": over, "rate": rate, "listeners": ",".join(map(str, listeners)), **options}
    started = time.gmtime()
    folder = results / f"capacity-{time.strftime('%Y%m%d-%H%M%S', started)}"
    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(
        slo=options["slo"] or with_defaults(SLO),
        seconds=options["duration"],
        warmup_s=options["warmup"],
        start=options["start"],
        most=options["most"],
        precision=options["precision"],
        repeats=options["repeats"],
        results=folder,
        load_arguments=(
            *(("--host", host) if host else ()),
            *given_words(options, without=OWN | {"players"}),
        ),
        players=settings.players if options["players"] != str(RunSettings().players) else 0,
    )

    def find() -> Target | None:
        return find_target(
            host=host,
            mysql_url=settings.mysql_url,
            environ=os.environ,
            folder=Path.cwd(),
            target_file=settings.target,
        )

    ink = Ink(sys.stderr)
    search = Capacity(plan, lambda trial: print(_line(trial, ink), file=sys.stderr, flush=True))
    searches: list[Search] = []
    wrong: list[CapacityTrial] = []
    stopped, interrupted = "", False
    try:
        with contextlib.ExitStack() as stack:
            if find() is None:
                stack.enter_context(
                    own_stack(find, folder=Path.cwd(), say=lambda t: print(t, file=sys.stderr))
                )
            plan.slo = options["slo"] or _measurable(find(), settings)
            plan.least = _least({**options, "slo": plan.slo}, over, max(listeners))
            for count in listeners if over != "listeners" else [0]:
                before = len(search.trials)
                if over == "listeners":
                    found = search.over_listeners(rate)
                else:
                    found = search.over_rate(count)
                tried = search.trials[before:]
                wrong += convictions(tried, most=found.load or None)
                searches.append(
                    Search(
                        over="listeners" if over == "listeners" else "rate",
                        fixed=rate if over == "listeners" else count,
                        load=found.load,
                        bounded=found.bounded,
                        bottleneck=limiting(tried),
                        steps=[SearchStep(**asdict(step)) for step in found.steps],
                    )
                )
    except FailsAlike as error:
        stopped = str(error)
    except (TargetError, OSError) as error:
        raise CommandError(str(error), COULD_NOT_TELL) from None
    except KeyboardInterrupt:
        interrupted = True
        print("stopped; what was found so far follows", file=sys.stderr)
    trials = [trial.to_result() for trial in search.trials]
    document = CapacityResult(
        started_unix_s=calendar.timegm(started),
        machine=Machine(**fingerprint()),
        command=command_of(asked),
        plan=SearchPlan(slo=plan.slo, seconds=plan.seconds, repeats=plan.repeats),
        searches=searches,
        trials=trials,
        scalability=scalability(trials),
    )
    path = keep_result(document, folder.with_suffix(".json"))
    _print(document, Ink(sys.stdout), path)
    if interrupted:
        return COULD_NOT_TELL
    if stopped:
        told = tells(stopped) or convictions(search.trials)
        raise CommandError(f"stopped: {stopped}", BAD if told else COULD_NOT_TELL)
    if wrong:
        raise CommandError(f"at {wrong[0].load}, within what was found: {wrong[0].why}", BAD)
    return GOOD if searches and all(found.load for found in searches) else BAD


def _of_this_search(over: str, options: Mapping[str, Any]) -> None:
    """Refuses what the search itself decides, and a search without a load to try."""
    raised = "--listeners" if over == "listeners" else "--rate"
    if given(raised):
        refuse(f"{raised} is raised with --over {over}: --start is the first, --most the greatest")
    if options["start"] > options["most"]:
        refuse(f"--start {options['start']} is more than --most {options['most']}")


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run that are shared with `load`, by the names of its settings."""
    return {f"scoreboard_{o.name}": options[o.name] for o in OPTIONS if o.name not in OWN}


def _checked(options: Mapping[str, Any], over: str, listeners: int) -> RunSettings:
    """What every trial has in common; what cannot be run ends the command."""
    try:
        if options["trace"] and options["trace_speed"] != "1":
            raise ValueError("--trace-speed: a trace is played so fast that each rate is its mean")
        trial = _first_trial(options, listeners)
        settings = settings_from({**trial, "scoreboard_slo": ""})
        read_signing_key(settings.signing_key)
        if over != "listeners":
            settings_from({**trial, "scoreboard_slo": options["slo"] or _default(listeners)})
    except (ValueError, OSError) as error:
        refuse(str(error))
    return settings


def _least(options: Mapping[str, Any], over: str, listeners: int) -> int:
    """The least load of which a trial can give every figure of the limits."""
    if over == "listeners":
        return 1

    def too_small(rate: int) -> bool:
        try:
            settings_from(_first_trial({**options, "start": rate}, listeners))
        except ValueError:
            return True
        return False

    rates = range(options["start"])
    return bisect.bisect_left(rates, True, lo=1, key=lambda rate: not too_small(rate))


def _first_trial(options: Mapping[str, Any], listeners: int) -> dict[str, Any]:
    """What the first trial is asked for: it must be able to give every figure of the limits."""
    return {
        **_given(options),
        "scoreboard_slo": options["slo"],
        "scoreboard_rate": rate_text(options["start"], trace=bool(options["trace"])),
        "scoreboard_listeners": str(listeners),
        "scoreboard_duration_s": str(options["duration"]),
        "scoreboard_warmup_s": str(options["warmup"]),
    }


def _measurable(target: Target | None, settings: RunSettings) -> str:
    """The default limits on figures that this server gives. Raises TargetError."""
    assert target is not None
    known = credentials(target, replace(settings, slo="", players=1), int(time.time()))
    say = partial(print, file=sys.stderr)
    shown = look_before(known, read_signing_key(settings.signing_key), say=say)
    if not shown.sequence_header:
        # Of another contract: what was not seen by now is not asked for unasked.
        shown = msgspec.structs.replace(shown, commit_stamps=bool(shown.commit_stamps))
    limits = load_slo(_default(settings.listeners))
    return with_defaults(canonical(limit for limit in limits if not unmeasurable([limit], shown)))


def _default(listeners: int) -> str:
    """The limits without --slo. Without listeners there is no lag."""
    return SLO if listeners else ",".join(each for each in SLO.split(",") if "lag" not in each)


def command_of(asked: Mapping[str, Any]) -> str:
    """The command that repeats a search, defaults spelled out: they may change."""
    words = ["scoreboard", "capacity"]
    raised = "listeners" if asked["over"] == "listeners" else "rate"
    for name in REPEATED:
        if asked[name] != "" and name != raised:
            words += [f"--{name}", str(asked[name])]
    words += given_words(asked, without=OWN)
    return shlex.join(words)


def _line(trial: CapacityTrial, ink: Ink) -> str:
    kept = trial.to_result()
    word = ink.good("held    ") if trial.held else ink.bad("not held")
    return (
        f"  {trial.phase:8} {number(trial.rate):>7}/s {number(trial.listeners):>7} listeners"
        f"  {word}"
        f"  p99 {duration(kept.response_p99):>7}  lag p99 {duration(kept.lag_p99):>7}"
        + (f"  {ink.dim(trial.why)}" if trial.why else "")
    )


def _print(document: CapacityResult, ink: Ink, path: Path) -> None:
    print()
    for found in document.searches:
        unit = "listeners" if found.over == "listeners" else "submissions/s"
        beside = (
            f"{number(found.fixed)}/s"
            if found.over == "listeners"
            else (f"{number(found.fixed)} listeners")
        )
        least = "" if found.bounded else "at least "
        if found.load:
            print(
                ink.bold(f"  {least}{number(found.load)} {unit}") + f" with {beside}, within "
                f"{document.plan.slo}, {document.plan.repeats} times"
            )
        else:
            lowest = min((step.load for step in found.steps), default=0)
            print(ink.bad(f"  no load held with {beside}; the least tried was {number(lowest)}"))
        if found.bottleneck:
            where = "beyond it" if found.bounded else "there"
            print(f"  {where}: {found.bottleneck}")
    law = document.scalability
    if law.fit is None:
        print(ink.dim(f"  no scalability law: {law.refused}"))
    else:
        low, high = law.peak
        told = "no bound" if law.peak_rate is None else f"{number(law.peak_rate)}/s"
        told += f" ({number(low or 0)}–{'∞' if high is None else number(high)})"
        print(
            f"  scalability law: peak {told}, contention {law.fit.contention:.3f}, "
            f"coherency {law.fit.coherency:.5f}"
        )
    print(ink.dim(f"  {path}"))
