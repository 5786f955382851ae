"""Troubles of `locust -f`: workers that die, leave or come late, Ctrl-C, Locust's own options."""

import os
import signal
from typing import Unpack

from harness.engines.null_server import Faults
from harness.engines.standalone import null_server
from harness.net.sockets import free_ports
from harness.trouble.cases import GOOD_RUN, trouble
from harness.trouble.in_runs import UNFINISHED
from harness.trouble.stage import SHORT, How, Stage, Started
from harness.trouble.verdicts import NO_RESULT, Said


def _headless(stage: Stage, url: str, *options: str, **how: Unpack[How]) -> Started:
    """A short run of the scenario against this server, without a web page."""
    words = ("--headless", "--only-summary", *SHORT, "--host", url)
    return stage.locust(*words, *options, **how)


def _worker(stage: Stage, name: str, port: int) -> Started:
    return stage.locust(
        "--worker", "--master-host", "127.0.0.1", "--master-port", str(port), name=name
    )


def _machines(stage: Stage, url: str, port: int, *options: str) -> tuple[Started, list[Started]]:
    """A master and two workers, with a folder each."""
    bound = ("--master-bind-host", "127.0.0.1", "--master-bind-port", str(port))
    master = _headless(stage, url, *options, "--master", "--expect-workers", "2", *bound)
    return master, [_worker(stage, f"worker{n}", port) for n in range(2)]


def _sender(master: Started, workers: list[Started]) -> Started:
    """The worker that submits, once it does."""

    def found() -> list[Started]:
        return [w for w in workers if any(w.results.glob("*/history-submitters-0.jsonl"))]

    master.when(lambda: bool(found()), "sending")
    return found()[0]


@trouble(
    "locust: a worker is killed", exit=3, says="submitters-0 was lost: process", verdict=UNFINISHED
)
def worker_killed(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        master, workers = _machines(stage, url, free_ports(1)[0], "--duration", "60")
        sender = _sender(master, workers).when_sending(500)
        os.kill(sender.process.pid, signal.SIGKILL)
        return master.ended()


@trouble(
    "locust: a worker leaves", exit=3, says="submitters-0 was lost: process", verdict=UNFINISHED
)
def worker_leaves(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        master, workers = _machines(stage, url, free_ports(1)[0], "--duration", "60")
        _sender(master, workers).when_sending(500).interrupt(signal.SIGTERM)
        return master.ended()


@trouble("locust: a worker comes late", exit=0, says="came late", verdict=GOOD_RUN)
def worker_late(stage: Stage) -> Said:
    port = free_ports(1)[0]
    with null_server(players=100) as (url, _):
        master, workers = _machines(stage, url, port, "--duration", "8")
        _sender(master, workers)
        _worker(stage, "late", port)
        return master.ended()


@trouble(
    "locust: 400 listeners with a limit of 200 descriptors",
    exit=2,
    says="--listeners 400 needs about 464 file descriptors in a load process",
    verdict=NO_RESULT,
)
def few_descriptors(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        return _headless(stage, url, "--listeners", "400", descriptors=200).ended()


@trouble("locust: --rate fast", exit=2, says="'fast' is not an arrival profile", verdict=NO_RESULT)
def wrong_rate(stage: Stage) -> Said:
    return _headless(stage, "http://127.0.0.1:9", "--rate", "fast").ended()


@trouble(
    "locust: one user, so that nobody submits",
    exit=3,
    says="no Locust user submits",
    verdict="not valid, correct, SLO unknown",
)
def one_user(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        return _headless(stage, url, "--users", "1", "--duration", "60").ended()


@trouble("locust: Ctrl-C while measuring", exit=0, says="acknowledged", verdict=GOOD_RUN)
def interrupted(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        run = _headless(stage, url, "--duration", "60")
        return run.when_sending(500).interrupt().ended()


@trouble(
    "locust: a second Ctrl-C, while the server hangs",
    exit=3,
    says="could not tell",
    verdict=UNFINISHED,
)
def interrupted_twice(stage: Stage) -> Said:
    with null_server(players=100) as (url, pid):
        port = str(free_ports(1)[0])
        forked = ("--processes", "2", "--master-bind-port", port, "--master-port", port)
        run = _headless(stage, url, "--duration", "60", "--timeout", "30", *forked)
        run.when_sending(600)
        os.kill(pid, signal.SIGSTOP)
        try:
            run.interrupt().when(lambda: any(run.results.glob("*.json")), "draining").interrupt()
            return run.ended()
        finally:
            os.kill(pid, signal.SIGCONT)


@trouble(
    "locust: SIGTERM, and a server that lost submissions",
    exit=1,
    says="not correct",
    verdict="valid, not correct, within SLO",
)
def terminated(stage: Stage) -> Said:
    lost = Faults(lose_submissions=frozenset({250, 300}))
    with null_server(lost, players=100) as (url, _):
        run = _headless(stage, url, "--duration", "60")
        return run.when_sending(500).interrupt(signal.SIGTERM).ended()


@trouble(
    "locust: --exit-code-on-error 7, and a broken limit",
    exit=7,
    says="not within SLO",
    verdict="valid, correct, not within SLO",
)
def exit_code_on_error(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        options = ("--slo", "max:1us", "--exit-code-on-error", "7")
        return _headless(stage, url, *options).ended()


@trouble("locust: --tags that no task has", exit=0, says="--tags", verdict=GOOD_RUN)
def tags(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        return _headless(stage, url, "--tags", "nothing").ended()


@trouble(
    "locust: --stop-timeout 1 and --run-time 15s", exit=0, says="acknowledged", verdict=GOOD_RUN
)
def stop_timeout(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        limits = ("--duration", "60", "--run-time", "15s", "--stop-timeout", "1")
        return _headless(stage, url, *limits).ended()


@trouble(
    "locust: a user's own class beside ours",
    exit=2,
    says="Mine cannot run in the same run as ours",
    verdict=NO_RESULT,
)
def own_class(stage: Stage) -> Said:
    scenario = stage.folder / "scenario.py"
    scenario.write_text(
        scenario.read_text("utf-8")
        + "\n\nfrom locust import HttpUser, task\n\n\n"
        + "class Mine(HttpUser):\n    @task\n    def read(self):\n"
        + '        self.client.get("/scores")\n',
        "utf-8",
    )
    with null_server(players=100) as (url, _):
        return _headless(stage, url).ended()


@trouble(
    "locust: SIGTERM during a run in the web UI, and a server that lost submissions",
    exit=1,
    says="not correct",
    verdict="valid, not correct, within SLO",
)
def terminated_in_web(stage: Stage) -> Said:
    lost = Faults(lose_submissions=frozenset({250, 300}))
    port = str(free_ports(1)[0])
    with null_server(lost, players=100) as (url, _):
        web = ("--web-host", "127.0.0.1", "--web-port", port, "--autostart")
        run = stage.locust(*SHORT, "--host", url, "--duration", "60", *web)
        return run.when_sending(500).interrupt(signal.SIGTERM).ended()


@trouble("locust: --autostart --autoquit 1", exit=0, says="acknowledged", verdict=GOOD_RUN)
def autoquit(stage: Stage) -> Said:
    with null_server(players=100) as (url, _):
        web = ("--web-host", "127.0.0.1", "--web-port", str(free_ports(1)[0]), "--autostart")
        return stage.locust(*SHORT, "--host", url, *web, "--autoquit", "1").ended()
