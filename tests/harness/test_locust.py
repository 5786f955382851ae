"""Locust's own command line, alone and over several machines, against the null server.

A machine of its own is a working folder of its own here: no process sees another's results.
"""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.engines.null_server import Faults
from harness.engines.standalone import null_server
from tests.support.eventually import eventually_sync
from tests.support.reserved_ports import reserved_port

ROOT = Path(__file__).parents[2]
RUN = (
    *("--headless", "--only-summary", "--rate", "400", "--listeners", "60", "--players", "100"),
    *("--warmup", "1", "--duration", "2", "--late-limit", "2000", "--results", "results"),
)


@contextmanager
def locust(folder: Path, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Locust on the project's scenario, with `folder` for its working folder; its log is there."""
    folder.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCOREBOARD_")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests"), *arguments],
            cwd=folder,
            env={**kept, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def worker(folder: Path, port: int) -> AbstractContextManager["subprocess.Popen[bytes]"]:
    """A worker of the master at this port, on a machine of its own."""
    return locust(folder, "--worker", "--master-host", "127.0.0.1", "--master-port", str(port))


@contextmanager
def machines(
    folder: Path, url: str, workers: int, *arguments: str, port: int = 0
) -> Iterator["list[subprocess.Popen[bytes]]"]:
    """A master and its workers, each on its own; the master comes first."""
    port = port or reserved_port()
    with ExitStack() as opened:
        yield [
            opened.enter_context(
                locust(
                    folder / "master",
                    *(*RUN, "--host", url, "--master", *arguments),
                    *("--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)),
                    *("--expect-workers", str(workers)),
                )
            ),
            *(opened.enter_context(worker(folder / f"worker{n}", port)) for n in range(workers)),
        ]


def forked(processes: int) -> list[str]:
    """Options of one machine with so many workers, apart from other tests' machines."""
    port = str(reserved_port())
    return ["--processes", str(processes), "--master-bind-port", port, "--master-port", port]


def result(folder: Path) -> dict[str, Any]:
    [path] = (folder / "results").glob("*.json")
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def histories(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("results/*/*")}


@pytest.mark.parametrize("names", ["OpenLoopSubmitters, ListenerPool", "Flood, Swarm"])
def test_a_scenario_may_name_the_users_as_now_or_as_before(tmp_path: Path, names: str) -> None:
    sender, listener = names.split(", ")
    scenario = tmp_path / "mine.py"
    scenario.write_text(
        f"from harness.locusts import {names}\n"
        f"class MySender({sender}): ...\nclass MyListener({listener}): ...\n"
    )

    listed = subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(scenario), "--list"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    shown = listed.stdout + listed.stderr
    assert "MySender" in shown
    assert "MyListener" in shown
    assert sender not in shown


@pytest.mark.parametrize(
    ("named", "shares"),
    [
        ((), {"Submitters": 0.5, "Listeners": 0.5, "ApplicationUser": 0.0}),
        (("ApplicationUser",), {"ApplicationUser": 1.0}),
    ],
)
def test_users_that_run_alone_have_no_share_beside_ours(
    named: tuple[str, ...], shares: dict[str, float]
) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "locust", "-f", "loadtests", "--show-task-ratio-json", *named],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    ratios = json.loads(shown.stdout)["per_class"]
    assert {name: round(entry["ratio"], 3) for name, entry in ratios.items()} == shares


def test_wrong_use_ends_the_processes_that_were_forked_already(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests"), *RUN),
            *("--host", "http://127.0.0.1:9", *forked(2), "--signing-key", "key:absent"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        # Until every process that writes there has ended.
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=45,
        check=False,
    )

    assert done.returncode == 2, done.stdout
    assert "error: --signing-key: absent: No such file or directory" in done.stdout
    assert not list(tmp_path.iterdir())


def test_files_that_cannot_be_written_are_refused_before_anything_begins(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("nothing of ours")
    options = ("--csv", "--html", "--json-file", "--logfile")
    started = [
        subprocess.Popen(
            [*(sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests")), option, "file/new"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for option in options
    ]

    for option, process in zip(options, started, strict=True):
        said = process.communicate(timeout=45)[0]
        assert process.returncode == 2, said
        assert f"error: argument {option}: file is not a folder" in said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_single_process_ends_by_itself_with_a_verdict(tmp_path: Path) -> None:
    with null_server(players=100) as (url, _), locust(tmp_path, *RUN, "--host", url) as process:
        code = process.wait(60)

    assert code == 0, (tmp_path / "log").read_text()
    document = result(tmp_path)
    assert document["verdict"]["good"]
    assert document["totals"]["ok"] == 1200
    assert [member["kind"] for member in document["members"]] == ["submitters", "listeners"]
    printed = (tmp_path / "log").read_text()
    assert all(f"✓ {word}" in printed for word in ("valid", "correct", "within SLO"))
    assert f"{document['run_id']}.html" in printed


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open() as file:
        return {row["Name"]: row for row in csv.DictReader(file)}


def test_locust_tables_count_each_event_and_each_failure_once(tmp_path: Path) -> None:
    with (
        null_server(Faults(refuse_submissions=frozenset({5, 50, 500})), players=100) as (url, _),
        # Two listener pools: each of them sees every event.
        locust(tmp_path, *RUN, "--host", url, *forked(4), "--csv", "out", "--json") as process,
    ):
        process.wait(90)

    log = (tmp_path / "log").read_text()
    # One document, not one for every process.
    assert [line for line in log.splitlines() if line in ("[", "[]")] == ["["], log
    rows = table(tmp_path / "out_stats.csv")
    submissions = rows["/scores/update"]
    assert (submissions["Request Count"], submissions["Failure Count"]) == ("1200", "3"), log
    assert rows["lag of the median listener"]["Request Count"] == "1197"
    assert rows["connect"]["Request Count"] == "60"
    for row in rows.values():
        assert int(row["Failure Count"]) <= int(row["Request Count"])
    with (tmp_path / "out_failures.csv").open() as file:
        failures = list(csv.DictReader(file))
    assert sum(int(failure["Occurrences"]) for failure in failures) == 3
    for failure in failures:
        assert failure["First Seen"] <= failure["Last Seen"]
        assert failure["First Seen"].startswith("20")


def test_remote_workers_get_work_and_upload_their_histories(
    tmp_path: Path,
) -> None:
    with null_server(players=100) as (url, _), machines(tmp_path, url, workers=4) as processes:
        code = processes[0].wait(90)

    master = tmp_path / "master"
    assert code == 0, (master / "log").read_text()
    document = result(master)
    assert document["verdict"]["good"]
    assert document["totals"]["ok"] == 1200
    kinds = [member["kind"] for member in document["members"]]
    assert kinds == ["submitters", "submitters", "listeners", "listeners"]
    assert len({member["pid"] for member in document["members"]}) == 4
    written = [histories(tmp_path / f"worker{number}") for number in range(4)]
    assert all(len(names) == 1 for names in written)
    assert histories(master) == set.union(*written, {"history-coordinator.jsonl"})


def test_a_history_that_does_not_arrive_voids_the_run(tmp_path: Path) -> None:
    with null_server(players=100) as (url, _), machines(tmp_path, url, workers=2) as processes:

        def history() -> Path | None:
            return next(tmp_path.glob("worker*/results/*/history-listeners-0.jsonl"), None)

        # The worker goes on writing; there is only no file to hand over.
        found = eventually_sync(history, timeout_s=60)
        assert found
        found.unlink()
        code = processes[0].wait(90)

    document = result(tmp_path / "master")
    assert code == 3
    [reason] = document["verdict"]["invalid"]
    assert reason.startswith("history-listeners-0.jsonl of ")
    assert "did not arrive whole: 0 of " in reason
    assert not any(name.endswith(".part") for name in histories(tmp_path / "master"))


def test_a_killed_worker_ends_the_run_in_seconds_and_is_named(tmp_path: Path) -> None:
    with null_server(players=100) as (url, _), machines(tmp_path, url, workers=2) as processes:

        def sender() -> Path | None:
            return next(tmp_path.glob("worker*/results/*/history-submitters-0.jsonl"), None)

        found = eventually_sync(sender, timeout_s=60)
        assert found
        processes[1 + int(found.relative_to(tmp_path).parts[0][-1])].kill()
        began = time.monotonic()
        code = processes[0].wait(60)

    assert code == 3
    assert time.monotonic() - began < 30
    document = result(tmp_path / "master")
    assert not document["verdict"]["valid"]
    assert document["verdict"]["invalid"][0].startswith("submitters-0 was lost: process ")
    assert document["faults"] == [], "the server did not fall over"
    # The listeners stayed, and are still judged.
    pool = next(m for m in document["members"] if m["kind"] == "listeners")
    assert pool["status"]["missing"] == pool["status"]["behind"] == 0


def test_a_worker_that_comes_late_takes_no_engine_from_a_run(tmp_path: Path) -> None:
    port = reserved_port()
    with (
        null_server(players=100) as (url, _),
        machines(tmp_path, url, 2, "--duration", "8", port=port) as processes,
    ):
        eventually_sync(
            lambda: any(tmp_path.glob("worker*/results/*/history-submitters-0.jsonl")), timeout_s=60
        )
        with worker(tmp_path / "late", port):
            code = processes[0].wait(60)

    log = (tmp_path / "master" / "log").read_text()
    assert code == 0, log
    assert "came late: it takes part from the next run on" in log
    document = result(tmp_path / "master")
    assert document["verdict"]["good"]
    assert document["totals"]["ok"] == 3600
    assert len(document["members"]) == 2
