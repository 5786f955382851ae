"""Troubles of `scoreboard load`: servers that fail, load processes that die, Ctrl-C, full disks."""

import json
import os
import signal
import socket
import subprocess
import sys

from harness.engines.null_server import Faults
from harness.engines.standalone import null_server
from harness.trouble.cases import GOOD_RUN, CannotPlant, need, trouble
from harness.trouble.stage import SHORT, Stage, answering
from harness.trouble.verdicts import NO_RESULT, Said

FAILED = "valid, correctness unknown, not within SLO"
UNFINISHED = "not valid, correctness unknown, within SLO"


@trouble("nothing", exit=0, says="acknowledged", verdict=GOOD_RUN)
def nothing(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        return stage.load(url).ended()


# Servers that fail


@trouble("the server dies in the run's third second", exit=1, says="fell over", verdict=FAILED)
def server_dies(stage: Stage) -> Said:
    with null_server(Faults(die_at_s=2.5), players=100) as (url, _):
        return stage.load(url, "--duration", "5").ended()


@trouble("the server slows to a stop", exit=1, says="fell over", verdict=FAILED)
def server_slows(stage: Stage) -> Said:
    with null_server(Faults(slow_from_s=2.0), players=100) as (url, _):
        return stage.load(url, "--duration", "4", "--timeout", "1").ended()


@trouble(
    "every token is refused (401) from the start",
    exit=3,
    says="was answered with 401: set SCOREBOARD_JWT_SECRET",
    verdict=NO_RESULT,
)
def tokens_refused(stage: Stage) -> Said:
    with null_server(Faults(refuse_from=0, refuse_status=401), players=100) as (url, _):
        return stage.load(url).ended()


@trouble(
    "every token is refused (401) from the 400th submission on",
    exit=1,
    says="HTTP 401",
    verdict="valid, correct, not within SLO",
)
def tokens_refused_later(stage: Stage) -> Said:
    with null_server(Faults(refuse_from=400, refuse_status=401), players=100) as (url, _):
        return stage.load(url).ended()


@trouble(
    "the server redirects every request",
    exit=3,
    says="it redirects to http://elsewhere:1: give that address as --host",
    verdict=NO_RESULT,
)
def redirected(stage: Stage) -> Said:
    found = b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere:1\r\nContent-Length: 0\r\n\r\n"
    with answering(found) as url:
        return stage.load(url).ended()


@trouble("no server listens", exit=3, says="no server answers at 127.0.0.1 port 9")
def no_server(stage: Stage) -> Said:
    return stage.load("http://127.0.0.1:9").ended()


@trouble(
    "the server stalls, and five connections are too few",
    exit=1,
    says="dropped<=0%",
    verdict="valid, correct, not within SLO",
)
def too_few_connections(stage: Stage) -> Said:
    with null_server(Faults(stall_at_s=2.0, stall_s=1.5), players=100) as (url, _):
        return stage.load(url, "--connections", "5", "--timeout", "1").ended()


# Load processes


@trouble(
    "the process that submits is killed",
    exit=3,
    says="submitters-0 was lost: process",
    verdict=UNFINISHED,
)
def submitter_killed(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        run = stage.load(url, "--duration", "60").when_sending(500)
        os.kill(run.member("submitters"), signal.SIGKILL)
        return run.ended()


@trouble(
    "the process that listens is killed",
    exit=3,
    says="listeners-0 was lost: process",
    verdict=UNFINISHED,
)
def listener_killed(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        run = stage.load(url, "--duration", "60").when_sending(500)
        os.kill(run.member("listeners"), signal.SIGKILL)
        return run.ended()


@trouble(
    "400 listeners with a limit of 200 descriptors",
    exit=2,
    says="--listeners 400 needs about 464 file descriptors in a load process",
)
def few_descriptors(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        return stage.load(url, "--listeners", "400", descriptors=200).ended()


# What was asked for


@trouble(
    "rate 0: listeners alone", exit=0, says="all 10 listeners end at the last change", verdict=""
)
def rate_zero(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        return stage.load(url, "--rate", "0").ended()


@trouble("listeners 0: submissions alone", exit=0, says="acknowledged", verdict=GOOD_RUN)
def listeners_zero(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        return stage.load(url, "--listeners", "0").ended()


@trouble("rate 0 and listeners 0", exit=2, says="leave nothing to measure")
def nothing_asked(stage: Stage) -> Said:
    return stage.load("http://127.0.0.1:9", "--rate", "0", "--listeners", "0").ended()


# Ctrl-C


@trouble(
    "Ctrl-C while users are added",
    exit=3,
    says="the run was ended before it began",
    verdict=NO_RESULT,
)
def interrupted_seeding(stage: Stage) -> Said:
    # A database that takes connections and says nothing, behind a stack that says it is ready.
    with (
        null_server(players=100) as (url, _),
        socket.create_server(("127.0.0.1", 0)) as silent,
    ):
        port = silent.getsockname()[1]
        secret = stage.folder / "secret"
        secret.write_text("s" * 32, "utf-8")
        state = {
            "ready": True,
            "supervisor_pid": os.getpid(),
            "base_url": url,
            "jwt_secret_file": str(secret),
            "urls": {
                "mysql": f"mysql://u:p@127.0.0.1:{port}/scores",
                "redis": f"redis://127.0.0.1:{port}/0",
                "temporal": f"127.0.0.1:{port}",
            },
        }
        (stage.folder / "state.json").write_text(json.dumps(state), "utf-8")
        run = stage.load(url, environ={"SCOREBOARD_DATA_DIR": str(stage.folder)})
        return run.when_phase("preparing").interrupt().ended()


@trouble(
    "Ctrl-C in the warm-up",
    exit=3,
    says="the run ended in its warm-up: nothing was measured",
    verdict="not valid, correct, SLO unknown",
)
def interrupted_warm_up(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        return stage.load(url, "--warmup", "30").when_sending(100).interrupt().ended()


@trouble("Ctrl-C while measuring", exit=0, says="ending the run early", verdict=GOOD_RUN)
def interrupted_measuring(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        return stage.load(url, "--duration", "60").when_sending(500).interrupt().ended()


@trouble(
    "Ctrl-C while listeners that missed events are waited for",
    exit=1,
    says="ending the run early",
    verdict="valid, not correct, within SLO",
)
def interrupted_converging(stage: Stage) -> Said:
    lost = Faults(lose_events=frozenset(range(790, 801)), victim=3)
    with null_server(lost, players=100) as (url, _):
        return stage.load(url).when_phase("converging").interrupt().ended()


@trouble("Ctrl-C while the run is judged", exit=0, says="ending the run early", verdict=GOOD_RUN)
def interrupted_judging(stage: Stage) -> Said:
    # The board of so many players takes a second to read.
    with null_server(players=20_000) as (url, _):
        run = stage.load(url, "--players", "20000")
        return run.when_phase("reconciling").interrupt().ended()


@trouble(
    "a second Ctrl-C, while the server hangs",
    exit=3,
    says="judging what is there already",
    verdict=UNFINISHED,
)
def interrupted_twice(stage: Stage) -> Said:
    with null_server(players=100) as (url, pid):
        run = stage.load(url, "--duration", "60", "--timeout", "30").when_sending(600)
        os.kill(pid, signal.SIGSTOP)
        try:
            run.interrupt().when_phase("draining").interrupt()
            return run.ended()
        finally:
            os.kill(pid, signal.SIGCONT)


# Disks


def _on_small_disk(stage: Stage, url: str, *options: str) -> Said:
    """A run with a results folder of 300 KB, on a disk that no other process sees."""
    need("unshare")
    apart = ("unshare", "--user", "--map-root-user", "--mount")
    probe = subprocess.run(
        [*apart, "mount", "-t", "tmpfs", "none", "/mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode:
        raise CannotPlant(f"no disk can be mounted: {probe.stderr.strip()}")
    (stage.folder / "results").mkdir()
    mounted = 'mount -t tmpfs -o size=300k none results && exec "$0" -m harness load "$@"'
    options = (*SHORT, "--rate", "1000", *options)
    return stage.start(
        [
            *(*apart, "sh", "-c", mounted, sys.executable, "--host", url),
            *("--locustfile", "scenario.py", "--no-ceiling", *options),
        ]
    ).ended()


@trouble("the disk runs full", exit=3, says="No space left on device", verdict=UNFINISHED)
def disk_full(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        return _on_small_disk(stage, url, "--duration", "0")


@trouble("a run that the disk has no room for", exit=2, says="MB are free in results")
def disk_too_small(stage: Stage) -> Said:
    return _on_small_disk(stage, "http://127.0.0.1:9", "--duration", "60")


@trouble("the results folder is a file", exit=2, says="--results: results is not a folder")
def results_is_a_file(stage: Stage) -> Said:
    (stage.folder / "results").write_text("", "utf-8")
    return stage.load("http://127.0.0.1:9").ended()
