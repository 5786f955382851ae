"""Sets Locust up for a run with a verdict: options, users, messages, and when Locust ends.

The users themselves are `harness.run.locust_users`, the run is `harness.run.coordinator`'s.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import gevent
from locust import User, events, runners
from locust.dispatch import UsersDispatcher
from locust.env import Environment

from harness.measure.settings import add_options
from harness.report.document import LoadResult
from harness.report.result_files import read_result_as
from harness.report.summary import print_summary
from harness.run import messages, web_tab
from harness.run.coordinator import Coordinator
from harness.run.locust_users import EngineUser, active
from harness.run.messages import OtherVersion, T
from harness.run.web_form import load_processes
from harness.run.worker_state import users_for
from harness.wrong_use import check_options, writable_file
from scoreboard_cli.group import WRONG_USE, CommandError

REPORT_EVERY_S = 1.0
"""A second is the grain of every figure here."""
PARENT_VARIABLE = "SCOREBOARD_LOAD_PARENT"

log = logging.getLogger(__name__)


class SteadyDispatcher(UsersDispatcher):
    """Locust's dispatcher without rebalancing.

    Locust would place all users anew when a worker joins or leaves, which stops the user of a
    running engine. A late worker gets users in the next run; a lost one ends this run.
    """

    def add_worker(self, worker_node: runners.WorkerNode) -> None:
        """Leave the users where they are."""
        log.warning("worker %s came late: it takes part from the next run on", worker_node.id)

    def remove_worker(self, worker_node: runners.WorkerNode) -> None:
        """Leave the users where they are."""


@events.init_command_line_parser.add_listener
def _options(parser: Any) -> None:
    add_options(parser)


FILES = {"--csv": "_stats.csv", "--html": "", "--json-file": ".json", "--logfile": ""}
"""Options of Locust that name a file, or its beginning, and what Locust adds to the name."""


@events.init_command_line_parser.add_listener
def _check_files(parser: Any) -> None:
    """Refuse files that cannot be written: Locust would end in a traceback, or after the run."""
    for option in FILES:
        parser._option_string_actions[option].type = partial(_writable, option)


def _writable(option: str, name: str) -> str:
    try:
        if name:
            writable_file(option, Path(name + FILES[option]))
    except CommandError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix(f"{option}: ")) from None
    return name


OUTWEIGHS = 1e9
_own_weights: dict[type[User], float] = {}
"""Of our users, until a run can be started."""


@events.init_command_line_parser.add_listener
def _outweigh_others(**_: Any) -> None:
    """Leave users of other classes that are loaded, too, no share of Locust's own tables.

    `--show-task-ratio` and its like come before any event at which users could be left out.
    """
    for user in _subclasses(EngineUser):
        user.weight = _own_weights.setdefault(user, user.weight) * OUTWEIGHS


def _parse_no_more() -> None:
    """Before a run: Locust parses options again for each page of its form that it serves."""
    for listener in (_outweigh_others, _check_files):
        with contextlib.suppress(ValueError):
            events.init_command_line_parser.remove_listener(listener)
    for user, weight in _own_weights.items():
        user.weight = weight


def _subclasses(user: type[User]) -> Iterator[type[User]]:
    for below in user.__subclasses__():
        yield below
        yield from _subclasses(below)


@events.init.add_listener
def _init(environment: Environment, web_ui: Any = None, **_: Any) -> None:
    runner = environment.runner
    _parse_no_more()
    if any(issubclass(user, EngineUser) for user in environment.user_classes):
        _ignore_tags(environment)
    if isinstance(runner, runners.WorkerRunner | runners.LocalRunner):
        _receive(runner, messages.ASSIGN, messages.Assign, lambda user, m: user.assign(m.work))
        _receive(runner, messages.DRAIN, messages.Drain, lambda user, _: user.drain())
        _receive(runner, messages.STORM, messages.Storm, lambda user, _: user.storm())
        _receive(runner, messages.FINISH, messages.Finish, lambda user, m: user.finish(m.target))
        _receive(runner, messages.FETCH, messages.Fetch, lambda user, m: user.hand_over(m.offset))
        gevent.spawn(_report_every_second)
    if isinstance(runner, runners.WorkerRunner):
        if PARENT_VARIABLE in os.environ:
            gevent.spawn(_die_with_parent, int(os.environ[PARENT_VARIABLE]))
        elif getattr(environment.parsed_options, "processes", None):
            # Forked by the master, which may end before this worker has joined.
            gevent.spawn(_die_with_parent, os.getppid())
            # Locust would print it for every process.
            environment.parsed_options.json = environment.parsed_options.json_file = None
        return
    engines = [user for user in environment.user_classes if issubclass(user, EngineUser)]
    if not engines:
        return
    session = getattr(environment, "scoreboard_session", False)
    if (strangers := strangers_among(environment.user_classes)) and not session:
        _refuse(strangers)
    environment.user_classes[:] = engines
    options = environment.parsed_options
    if web_ui is None and not session and options is not None:
        _refuse_wrong_use(environment)
    if options is not None and options.num_users is None:
        _suggest_users(environment)
    environment.dispatcher_class = SteadyDispatcher
    if not session:
        # Python would raise it in whichever greenlet runs, as in the middle of the run's own. A
        # session has a handler already, and a second one would interrupt the judging, too.
        gevent.signal_handler(signal.SIGINT, _interrupt, environment, gevent.getcurrent())
    coordinator = Coordinator(environment)
    environment.scoreboard = coordinator
    environment.events.quitting.add_listener(lambda **_: _conclude(coordinator))
    _end_with_the_run(environment, coordinator, web_ui)


def _end_with_the_run(environment: Environment, coordinator: Coordinator, web_ui: Any) -> None:
    """Under the `locust` command its state ends with the run, and the verdict is printed."""
    options, session = environment.parsed_options, getattr(environment, "scoreboard_session", False)
    if web_ui is not None:
        web_tab.install(web_ui, coordinator)
        if not session:
            gevent.spawn(_stop_when_judged, environment.runner, coordinator, web_ui)
    elif not session:
        environment.events.quit.add_listener(lambda **_: _print_verdict(coordinator))
    if web_ui is None and options is not None and options.headless:
        gevent.spawn(_quit_when_judged, environment.runner, coordinator)


def _refuse_wrong_use(environment: Environment) -> None:
    """Ends the command when its options cannot be run; a web form tells of them itself."""
    options = environment.parsed_options
    try:
        check_options(
            vars(options),
            host=environment.host,
            processes=load_processes(environment),
        )
    except (ValueError, CommandError) as error:
        _refuse(str(error))


def _refuse(message: str) -> NoReturn:
    print("error: " + message.replace("\n", "\n       "), file=sys.stderr)
    sys.exit(WRONG_USE)


def _receive(
    runner: Any, name: str, kind: type[T], handler: Callable[[EngineUser, T], None]
) -> None:
    """Hand messages of this name to the user that they are meant for."""

    def receive(environment: Environment, msg: Any, **_: Any) -> None:
        try:
            message = messages.unpack(msg.data, kind)
        except OtherVersion as error:
            log.error("%s", error)
            for user in list(active.values()):
                broken = messages.Broken(ident=user.ident, error=str(error))
                environment.runner.send_message(messages.BROKEN, messages.pack(broken))
            return
        if message.ident in active:
            handler(active[message.ident], message)

    runner.register_message(name, receive)


def _report_every_second() -> None:
    while True:
        gevent.sleep(REPORT_EVERY_S)
        for user in list(active.values()):
            user.send_report()


def strangers_among(users: Iterable[type[User]]) -> str:
    """Why a run with these users cannot be judged: some are not ours. Empty where it can.

    What others submit would be changes that the verdict cannot explain.
    """
    names = sorted(
        user.__name__
        for user in users
        if not issubclass(user, EngineUser) and not getattr(user, "runs_alone", False)
    )
    if not names:
        return ""
    return (
        f"{', '.join(names)} cannot run in the same run as ours, which has a verdict: what it "
        "submits would be changes that nobody can explain. Name the classes to run at the end of "
        f"the command, as in `locust -f … {names[0]}`, or give its file alone"
    )


def _suggest_users(environment: Environment) -> None:
    """As many users as give every connected worker work, until a person says how many."""
    options = environment.parsed_options
    kinds = [user.kind for user in environment.user_classes if issubclass(user, EngineUser)]
    options.num_users = users_for(1, kinds)
    options.spawn_rate = options.spawn_rate or 10

    def count_again(client_id: str, **_: Any) -> None:
        clients = environment.runner.clients
        known = {node.id for node in clients.ready + clients.spawning + clients.running}
        options.num_users = users_for(len(known | {client_id}), kinds)

    environment.events.worker_connect.add_listener(count_again)


def _quit_when_judged(runner: Any, coordinator: Coordinator) -> None:
    """Without a web form nobody else ends Locust when the run has."""
    coordinator.finished.wait()
    # Where Locust began to stop (a time limit), stopping its users twice would raise.
    while coordinator.stopping and runner.state != runners.STATE_STOPPED:
        gevent.sleep(0.1)
    runner.quit()


def _print_verdict(coordinator: Coordinator) -> None:
    """The summary of `scoreboard load`, on stderr: stdout may be Locust's own JSON."""
    if coordinator.problem:
        print(f"error: {coordinator.problem}", file=sys.stderr)
    path = coordinator.result_path
    if path is None:
        return
    if coordinator.judgement is None:
        print(f"what was measured is in {path}", file=sys.stderr)
    else:
        print_summary(read_result_as(path, LoadResult), sys.stderr, str(path))


def _ignore_tags(environment: Environment) -> None:
    """Keep the users' only task, without which Locust would raise for ever."""
    options = environment.parsed_options
    if options is None or not (
        getattr(options, "tags", None) or getattr(options, "exclude_tags", None)
    ):
        return
    log.warning("--tags and --exclude-tags are ignored: a run with a verdict has one task a user")
    environment.tags = environment.exclude_tags = None
    options.tags = options.exclude_tags = None


def _interrupt(environment: Environment, main: Any) -> None:
    """The first Ctrl-C ends the run early and then Locust; a second one its waiting, too."""
    coordinator = environment.scoreboard
    if coordinator.interrupted:
        coordinator.hurry()
        return
    coordinator.interrupted = True
    coordinator.end_early()
    gevent.spawn(_end_locust, coordinator, main)


def _conclude(coordinator: Coordinator) -> None:
    """Locust quits, as after SIGTERM, and takes its exit code next: the verdict has to be there."""
    if not coordinator.running:
        return
    if coordinator.interrupted:
        coordinator.hurry()
    coordinator.interrupted = True
    coordinator.end_early()
    coordinator.finished.wait()


def _end_locust(coordinator: Coordinator, main: Any) -> None:
    # Locust takes its exit code before it stops its users, so the verdict has to be there.
    if coordinator.running:
        coordinator.finished.wait()
        options = coordinator.environment.parsed_options
        if options is not None and options.headless:
            # Ends by itself.
            return
    gevent.kill(main, KeyboardInterrupt)


def _stop_when_judged(runner: Any, coordinator: Coordinator, web_ui: Any) -> None:
    """Let Locust's state end with the run, so that Start begins another one."""
    autoquit = getattr(coordinator.environment.parsed_options, "autoquit", -1)
    while True:
        coordinator.ended.wait()
        coordinator.ended.clear()
        _print_verdict(coordinator)
        if not coordinator.stopping:
            runner.stop()
        # Locust itself quits only after its own time limit.
        if autoquit >= 0 and not coordinator.environment.parsed_options.run_time:
            gevent.sleep(autoquit)
            runner.quit()
            web_ui.stop()
            return


def _die_with_parent(parent: int) -> None:
    """A load process must not outlive a master that was killed; Locust would wait for it."""
    while os.getppid() == parent:
        gevent.sleep(1)
    os._exit(1)
