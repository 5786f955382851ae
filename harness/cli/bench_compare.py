"""`scoreboard bench-compare --base REV`: is this tree slower or costlier than that one?

Base is unpacked from git into a temporary folder; both trees' benchmarks take
turns in this job. With `--counts` both trees' stacks are started one after the
other and what a submission costs MySQL, Redis and Temporal is counted: more of
anything fails. `--prove` publishes how often this judges wrongly, in some five minutes.
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
    error_rates,
    run_tree,
    tally,
)
from harness.measure.machine import fingerprint
from harness.measure.terminal import Ink
from scoreboard_cli.group import BAD, COULD_NOT_TELL, GOOD, CommandError, command, refuse
from scoreboard_cli.types import FOLDER, whole

STACK_TIMEOUT_S = 180
PROVE_TRIALS = 200
PLANTED = 0.15
PROVE_COMPARISONS = 3
PROVE_CASES = ("sse_decode_500", "batch_decode_500", "head_check_500", "build_requests")
"""Some of each module: with all of them the proof would take half an hour."""
PROVEN = (
    ("equal", "equal code called worse"),
    ("slower", f"a planted {PLANTED:.0%} slowdown not called worse"),
    ("one_more_call", "a planted function call not found"),
)


@command("bench-compare")
@click.option("--base", default="HEAD", metavar="REV", help="Revision to compare with (HEAD).")
@click.option("--rounds", type=whole(least=1), default=ROUNDS, help=f"Rounds per side ({ROUNDS}).")
@click.option("--only", metavar="CASE", multiple=True, help="This case; may be repeated.")
@click.option("--counts", "with_counts", is_flag=True, help="Also count what the stacks do.")
@click.option(
    "--prove", is_flag=True, help="Publish both error rates instead of comparing; five minutes."
)
@click.option("--results", type=FOLDER, default=Path("results"), help="Folder for the result.")
def bench_compare(
    base: str, rounds: int, only: tuple[str, ...], with_counts: bool, prove: bool, results: Path
) -> int:
    """Compare this checkout's benchmarks with those of another revision, interleaved.

    With --counts both stacks are started one after the other, and what a submission costs MySQL,
    Redis and Temporal is counted: more of anything fails.

    Exit codes: 0 nothing got worse; 1 something did; 2 there is no such revision; 3 nothing in
    common, a case that this checkout has lost, or benchmarks that cannot be run.
    """
    ink = Ink(sys.stdout)
    with contextlib.ExitStack() as stack:
        head = Path.cwd()
        trees = {"head": head}

        def measure(side: str, names: Sequence[str]) -> Sample:
            return run_tree(trees[side], names)

        try:
            if not prove:
                trees["base"] = stack.enter_context(unpacked(base))
        except OSError as error:
            refuse(str(error))
        try:
            if prove:
                return _prove(head, list(only), rounds, results)
            coverage = coverage_of(measure, only)
            gaps = coverage.gaps()
            if not coverage.common:
                raise CommandError("could not tell: " + "; ".join(gaps), COULD_NOT_TELL)
            judged = compare_sides(
                measure,
                names=list(only),
                rounds=rounds,
                tell=lambda text: print(f"  {text}", file=sys.stderr),
            )
            counts = count_sides(trees, stack_counts) if with_counts else {}
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise CommandError(f"could not tell: {error}", COULD_NOT_TELL) from None
    print(f"\n  {'':38}{'base':>12}{'head':>12}{'change':>9}{'p':>9}")
    for found in judged:
        word = {"worse": ink.bad, "more": ink.bad, "better": ink.good}.get(found.judgement, ink.dim)
        print(
            f"  {found.name:38}{found.base_ns / 1000:>9,.1f} µs{found.head_ns / 1000:>9,.1f} µs"
            f"{found.change:>+9.1%}{found.p_value:>9.4f}  {word(found.judgement)}"
            + (f"  {found.why}" if found.why else "")
        )
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


def _prove(head: Path, only: list[str], rounds: int, results: Path) -> int:
    """This tree against itself as it is, with a planted slowdown, and with a planted call.

    Really run, and then the rounds of the first comparison resampled many times.
    """
    pool: list[Sample] = []

    def compare(*plant: str) -> list[Judged]:
        def measure(side: str, asked: Sequence[str]) -> Sample:
            return run_tree(head, asked, plant if side == "head" else ())

        return compare_sides(measure, names=only or PROVE_CASES, rounds=rounds)

    def pooled(_: str, asked: Sequence[str]) -> Sample:
        sample = run_tree(head, asked)
        # Not those of a second look, which lack cases.
        if list(asked) == only:
            pool.append(sample)
        return sample

    equal = [compare_sides(pooled, names=only, rounds=rounds)]
    equal += [compare() for _ in range(PROVE_COMPARISONS - 1)]
    slower = [compare("--slower", str(PLANTED)) for _ in range(PROVE_COMPARISONS)]
    calls = [compare("--one-more-call")]
    real = {
        "equal": tally(equal, right=("same", "better")),
        "slower": tally(slower, right=("worse",)),
        "one_more_call": tally(calls, right=("more",)),
    }
    rates = error_rates(pool, planted=PLANTED, rounds=rounds, trials=PROVE_TRIALS, seed=1)
    _write(
        results,
        {
            "kind": "scoreboard-bench-proof",
            **rates,
            "real": {name: {**asdict(t), "rate": t.rate} for name, t in real.items()},
            "good": True,
        },
    )
    for name, title in PROVEN:
        found = real[name]
        print(f"  {title}: {found.wrong} of {found.decisions} in {found.comparisons} comparisons")
    print(
        f"  resampled, {rates['trials']} comparisons of {rates['cases']} cases:"
        f"\n  false alarms {rates['false_alarm_rate']:.3%} of all decisions"
        f"\n  a planted {PLANTED:.0%} slowdown missed {rates['miss_rate']:.2%}"
    )
    return 0


@contextlib.contextmanager
def unpacked(revision: str) -> Iterator[Path]:
    """The tree of a revision in a temporary folder. Raises OSError for an unknown one."""
    done = subprocess.run(
        ["git", "archive", "--format=tar", revision], capture_output=True, check=False
    )
    if done.returncode:
        raise OSError(f"git has no tree {revision}: {done.stderr.decode().strip()}")
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
                state = Path(data) / "state.json"
                while not (state.exists() and json.loads(state.read_text()).get("ready")):
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
        )
    )
