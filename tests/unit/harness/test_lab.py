"""The lab's plan: which hosts, files and faults there are. Nothing is started."""

import os
import random
from itertools import pairwise
from pathlib import Path

import pytest

from harness.chaos.run import Plan
from harness.checker.limits import FORGETTING, LOSES_WRITES, REDIS_PAIR
from harness.lab import schedule, system
from harness.lab.count import LabFault, LabRun, markdown, terminal
from harness.lab.faults.inject import BY_KIND
from harness.lab.topology import HOSTS, PROCESSES, REDISES, SENTINELS, Site, host_of
from harness.net.fault_proxy import Mode

ROOT = Path(__file__).parents[3]
SITE = Site(
    folder=Path("/lab"),
    mysql_password="m",
    redis_password="r",
    jwt_secret="j",
    python="python",
    mysqld="mariadbd",
    redis_server="redis-server",
    temporal="temporal",
    haproxy="haproxy",
)


def files() -> dict[str, str]:
    return SITE.files((ROOT / "deploy" / "proxies" / "haproxy.cfg").read_text("utf-8"))


def test_every_process_stands_on_a_host_and_has_a_command() -> None:
    assert {host_of(process) for process in PROCESSES} | {"clients"} == set(HOSTS)
    assert all(SITE.command(process) for process in PROCESSES)
    assert len(set(HOSTS.values())) == len(HOSTS)


def test_no_sentinel_shares_a_host_with_redis() -> None:
    assert not set(SENTINELS.values()) & set(REDISES)


def test_the_proxy_runs_the_documented_file_with_both_apis_and_one_primary() -> None:
    text = files()["haproxy.cfg"]

    assert text.count("server api1 10.77.0.11:3000") == 2
    assert text.count("server api2 10.77.0.12:3000") == 2
    assert "127.0.0.1:3000" not in text
    assert "server mysql1 10.77.0.31:3306\n" in text
    assert "server mysql2 10.77.0.32:3306 disabled" in text


def test_the_applications_account_cannot_write_where_read_only_is_set() -> None:
    rights = files()["init.sql"]

    assert "GRANT ALL ON scoreboard.* TO 'scoreboard'@'%'" in rights
    assert "GRANT ALL ON *.* TO 'scoreboard'" not in rights


def test_the_same_seed_plans_the_same_faults() -> None:
    assert schedule.plan(7) == schedule.plan(7)
    assert schedule.plan(7) != schedule.plan(8)


def test_any_twenty_seeds_have_over_thirty_kinds_and_two_hundred_faults() -> None:
    planned = [fault for seed in range(1, 21) for fault in schedule.plan(seed)]

    assert len(planned) >= 200
    assert len({fault.kind for fault in planned}) >= 30
    assert {make(random.Random(1)).label for make in schedule.KINDS} == {
        fault.label for fault in planned
    }


def test_every_kind_can_be_injected() -> None:
    from harness.chaos import faults as chaos

    known = {*BY_KIND, *chaos._BY_KIND, *(mode.value for mode in Mode)}
    planned = {fault.kind for seed in range(8) for fault in schedule.plan(seed)}

    assert planned <= known
    assert set(BY_KIND) <= planned


def test_the_checker_knows_which_kinds_make_redis_forget() -> None:
    planned = {fault.kind for seed in range(8) for fault in schedule.plan(seed)}

    assert planned >= LOSES_WRITES
    assert schedule.REDIS_EMPTY in FORGETTING
    assert set(REDISES) == REDIS_PAIR


def test_faults_follow_one_another() -> None:
    for seed in range(20):
        faults = schedule.plan(seed)
        for earlier, later in pairwise(faults):
            assert later.at_s >= earlier.at_s + earlier.hold_s


def test_a_machine_without_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert system.lacking() == ["The lab needs root: it makes network namespaces and mounts disks."]


def test_a_missing_program_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(system, "find", lambda name: None if name == "haproxy" else name)

    assert system.lacking() == ["The lab needs haproxy: apt-get install haproxy"]


def test_the_count_sums_runs_and_names_what_does_not_hold() -> None:
    fault = LabFault(kind="power loss", target="mysql1", fired="pid 1 killed", recovery_ms=1500)
    runs = [
        LabRun(seed=1, commit="abc", verdict="true", accepted=25_000, faults=(fault,)),
        LabRun(seed=2, broken="mysql1 took longer than 40 s"),
    ]

    assert "2 runs, 1 with verdict true, 0 false; 1 faults of 1 kinds" in terminal(runs)
    page = markdown(runs, "docs/results/lab.json")
    assert "| 1 | true | 25,000 | 1 of 1 |  |" in page
    assert "| 2 | unknown | 0 | 0 of 0 | mysql1 took longer than 40 s |" in page
    assert "| power loss | 1 of 1 | 1.5, 1.5 |" in page


def test_a_lab_run_demands_every_planned_fault() -> None:
    chosen = Plan(seed=1, short=False, lab=True, faults=tuple(schedule.plan(1)))

    assert chosen.demands.faults_min == schedule.FAULTS_IN_A_RUN
