"""`scoreboard bench-compare --base REV`: is this tree slower or costlier than that one?

Base is unpacked from git into a temporary folder; both trees' benchmarks take
turns in this job, and where valgrind is installed their instructions are counted.
With `--counts` both trees' stacks are started one after the other and what a
submission costs MySQL, Redis and Temporal is counted: more of anything fails.
`--prove` publishes how often this judges wrongly, in about ten minutes.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from harness.bench.compare_revisions import (
    ROUNDS,
    Judged,
    Sample,
    compare_sides,
    coverage_of,
    rounds_that_show,
    run_tree,
)
from harness.bench.instructions import (
    INSTRUCTION_SLACK,
    count_both,
    count_instructions,
    missing,
    with_instructions,
)
from harness.bench.prove import PLANTED, prove
from harness.measure.machine import fingerprint
from harness.measure.terminal import Ink
from harness.wrong_use import writable
from scoreboard_cli.group import (
    BAD,
    COULD_NOT_TELL,
    GOOD,
    CommandError,
    command,
    exclude,
    refuse,
)
from scoreboard_cli.running_stack import read_state
from scoreboard_cli.types import FOLDER, whole

STACK_TIMEOUT_S = 180
NOT_ASKED = "--no-instructions was given"
PROVEN = {
    "instructions_equal": "equal code called worse, by instructions",
    "equal": "equal code called worse, by times",
    "instructions_slower": f"a planted {PLANTED:.0%} slowdown not found, by instructions",
    "slower": f"a planted {PLANTED:.0%} slowdown not found, by times",
    "one_more_call": "a planted function call not found",
}


@command("bench-compare")
@click.option("--base", default="HEAD", metavar="REV", help="Revision to compare with (HEAD).")
@click.option("--rounds", type=whole(least=1), default=ROUNDS, help=f"Rounds per side ({ROUNDS}).")
@click.option("--only", metavar="CASE", multiple=True, help="This case; may be repeated.")
@click.option("--counts", "with_counts", is_flag=True, help="Also count what the stacks do.")
@click.option(
    "--instructions/--no-instructions",
    default=True,
    help="Count instructions where valgrind is installed (yes).",
)
@click.option(
    "--prove",
    "proof",
    is_flag=True,
    help="Publish both error rates instead of comparing; ten minutes.",
)
@click.option("--results", type=FOLDER, default=Path("results"), help="Folder for the result.")
def bench_compare(
    base: str,
    rounds: int,
    only: tuple[str, ...],
    with_counts: bool,
    instructions: bool,
    proof: bool,
    results: Path,
) -> int:
    """Compare this checkout's benchmarks with those of another revision, interleaved.

    Where valgrind is installed, a case that needs 3 % more instructions fails; without it the
    output says what slowdown the times alone can show.

    With --counts both stacks are started one after the other, and what a submission costs MySQL,
    Redis and Temporal is counted: more of anything fails.

    Exit codes: 0 nothing got worse; 1 something did; 2 there is no such revision; 3 nothing in
    common, a case that this checkout has lost, or benchmarks that cannot be run.
    """
    exclude("--prove", "--base", "--counts")
    writable("--results", results)
    ink = Ink(sys.stdout)
    with contextlib.ExitStack() as stack:
        head = Path.cwd()
        trees = {"head": head}

        def measure(side: str, names: Sequence[str]) -> Sample:
            return run_tree(trees[side], names)

        try:
            if not proof:
                trees["base"] = stack.enter_context(unpacked(base))
        except OSError as error:
            refuse(f"--base {base!r}: {error}")
        try:
            if proof:
                return _prove(only, rounds, results, ink, instructions=instructions)
            coverage = coverage_of(measure, only)
            gaps = coverage.gaps()
            if not coverage.common:
                raise CommandError("could not tell: " + "; ".join(gaps), COULD_NOT_TELL)
            judged = compare_sides(
                measure,
                names=list(only),
                rounds=rounds,
                with_power=True,
                tell=lambda text: print(f"  {text}", file=sys.stderr),
            )
            uncounted = missing() if instructions else NOT_ASKED
            if not uncounted:
                counted = count_both(
                    lambda side, names: count_instructions(trees[side], names), only
                )
                judged = with_instructions(judged, counted)
            counts = count_sides(trees, stack_counts) if with_counts else {}
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise CommandError(f"could not tell: {error}", COULD_NOT_TELL) from None
    _print_cases(judged, uncounted, ink)
    gaps += too_few(rounds, len(judged), uncounted)
    grown = more_counts(counts.get("base", {}), counts.get("head", {}))
    for name, (before, after) in grown.items():
        print(ink.bad(f"  {name}: {before} to {after} per submission"))
    bad = [found for found in judged if found.judgement in ("worse", "more")]
    _write(
        results,
        {
            "kind": "scoreboard-bench",
            "base": base,
            "cases": [asdict(found) for found in judged],
            "counts": counts,
            "gaps": gaps,
            "good": not bad and not grown and not gaps,
        },
    )
    for gap in gaps:
        print(ink.warn(f"  could not tell: {gap}"))
    seen = f"{len(judged)} cases in {rounds} rounds"
    if bad or grown:
        print(ink.bad(f"  {len(bad) + len(grown)} got worse ({seen})"))
        return BAD
    if gaps:
        return COULD_NOT_TELL
    print(ink.good(f"  nothing got worse ({seen})"))
    return GOOD


def too_few(rounds: int, cases: int, uncounted: str) -> list[str]:
    """Why such a comparison acquits nothing, though all its cases were measured."""
    least = rounds_that_show(cases)
    if not uncounted or rounds >= least:
        return []
    return [
        f"{rounds} rounds cannot show that a case is slower, and instructions were not counted: "
        f"--rounds {least} is the least"
    ]


def told(judged: Sequence[Judged], uncounted: str) -> list[str]:
    """What this comparison could see and what it could not."""
    if uncounted:
        lines = [f"instructions were not counted: {uncounted}; only times can show a slowdown"]
    else:
        lines = [
            f"instructions see any growth above {INSTRUCTION_SLACK:.0%}, but no waiting, "
            "cache misses or system calls: those only times can show"
        ]
    sharp = sum(case.sees is not None and case.sees <= PLANTED for case in judged)
    lines.append(
        f"times see a {PLANTED:.0%} slowdown in {sharp} of {len(judged)} cases here; "
        "the column 'times see' has the least for each"
    )
    return lines


def line_of(case: Judged) -> str:
    """A row of the table, without the judgement."""
    pair = case.instructions
    return (
        f"  {case.name:38}{case.base_ns / 1000:>9,.1f} µs{case.head_ns / 1000:>9,.1f} µs"
        f"{case.change:>+9.1%}{case.p_value:>9.4f}"
        f"{'>+100%' if case.sees is None else f'{case.sees:+.0%}':>11}"
        f"{'' if pair is None else f'{pair[1] / pair[0] - 1:+.2%}':>14}"
    )


def _print_cases(judged: Sequence[Judged], uncounted: str, ink: Ink) -> None:
    """The table of cases, and what it could not see."""
    print(
        f"\n  {'':38}{'base':>12}{'head':>12}{'change':>9}{'p':>9}{'times see':>11}"
        f"{'instructions':>14}"
    )
    for found in judged:
        word = {"worse": ink.bad, "more": ink.bad, "better": ink.good}.get(found.judgement, ink.dim)
        print(
            f"{line_of(found)}  {word(found.judgement)}" + (f"  {found.why}" if found.why else "")
        )
    for text in told(judged, uncounted):
        print(f"  {text}")


def _prove(only: Sequence[str], rounds: int, results: Path, ink: Ink, *, instructions: bool) -> int:
    with unpacked("HEAD") as first, unpacked("HEAD") as second:
        trees = {"base": first, "head": second}
        document = prove(
            trees,
            only,
            rounds,
            lambda text: print(f"  {text}", file=sys.stderr),
            instructions=instructions,
        )
    _write(results, {"kind": "scoreboard-bench-proof", "good": True, **document})
    for name, title in PROVEN.items():
        found = document["real"].get(name)
        if found:
            print(f"  {title}: {found['wrong']} of {found['decisions']} decisions")
    if uncounted := missing() if instructions else NOT_ASKED:
        print(ink.warn(f"  instructions were not counted: {uncounted}"))
    print(
        f"  times, resampled: {document['false_alarm_comparisons']:.1%} of comparisons with a "
        "false alarm; missed "
        + ", ".join(f"{rate:.0%} at +{slow}" for slow, rate in document["miss_rates"].items())
    )
    print(f"  one comparison takes {document['minutes']:.1f} minutes")
    return GOOD


@contextlib.contextmanager
def unpacked(revision: str) -> Iterator[Path]:
    """The tree of a revision in a temporary folder. Raises OSError for an unknown one."""
    if revision.startswith("-"):
        raise OSError("a revision does not begin with a hyphen")
    done = subprocess.run(
        ["git", "archive", "--format=tar", revision], capture_output=True, check=False
    )
    if done.returncode:
        raise OSError(f"git has no such tree: {done.stderr.decode().strip()}")
    with tempfile.TemporaryDirectory(prefix="scoreboard-base-") as name:
        folder = Path(name)
        # Not `tarfile`, whose `filter` Debian 12's Python does not know yet.
        subprocess.run(["tar", "-x", "-C", name], input=done.stdout, check=True)
        yield folder


def stack_counts(tree: Path) -> dict[str, int]:
    """What a submission costs the stack of that tree. Raises OSError. About twenty seconds."""
    with tempfile.TemporaryDirectory(prefix="scoreboard-data-") as data:
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SCOREBOARD_")},
            "SCOREBOARD_DATA_DIR": data,
            "PYTHONPATH": str(tree),
        }
        with subprocess.Popen(
            [sys.executable, "-m", "stack", "up", "--port", "0"],
            cwd=tree,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as stack:
            try:
                end = time.monotonic() + STACK_TIMEOUT_S
                while not read_state(Path(data)).get("ready"):
                    if stack.poll() is not None or time.monotonic() > end:
                        raise OSError(f"the stack of {tree.name} did not start")
                    time.sleep(0.2)
                # The measuring code is always head's; only the stack is the tree's own.
                done = subprocess.run(
                    [sys.executable, "-m", "harness", "counts", "--json"],
                    env={**environ, "PYTHONPATH": str(Path.cwd())},
                    capture_output=True,
                    text=True,
                    timeout=120,
                    check=False,
                )
            finally:
                stack.terminate()
                try:
                    stack.wait(30)
                except subprocess.TimeoutExpired:
                    stack.kill()
    if done.returncode:
        raise OSError(f"counting failed: {done.stderr.strip()}")
    counts: dict[str, int] = json.loads(done.stdout)
    return counts


def count_sides(
    trees: Mapping[str, Path], count: Callable[[Path], dict[str, int]]
) -> dict[str, dict[str, int]]:
    """The counts of both trees; taken twice when head's grew, and the least kept.

    Background work only ever adds, so on a busy machine one count may be too high.
    """
    counts = {side: count(tree) for side, tree in trees.items()}
    if more_counts(counts["base"], counts["head"]):
        again = {side: count(tree) for side, tree in trees.items()}
        counts = {
            side: {name: min(value, again[side].get(name, value)) for name, value in found.items()}
            for side, found in counts.items()
        }
    return counts


def more_counts(base: dict[str, int], head: dict[str, int]) -> dict[str, tuple[int, int]]:
    """The sums that grew. Single kinds may shift among each other."""
    gated = ("sql statements", "redis commands", "workflow history events")
    return {
        name: (base[name], head[name])
        for name in gated
        if name in base and name in head and head[name] > base[name]
    }


def _write(folder: Path, document: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    (folder / f"bench-{stamp}.json").write_text(
        json.dumps(
            {
                "version": 1,
                "machine": fingerprint(),
                "started_unix_s": time.time(),
                **document,
            },
            indent=1,
        ),
        "utf-8",
    )
