"""The lab's plan: which hosts, files and faults there are. Nothing is started."""

import os
import random
from itertools import pairwise
from pathlib import Path

import pytest

from harness.chaos.run import Plan
from harness.checker.limits import FORGETTING, LOSES_WRITES, REDIS_PAIR
from harness.lab import schedule, system
from harness.lab.faults.clocks import least_error_s
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


def test_chosen_kinds_replace_those_of_the_seed() -> None:
    chosen = (schedule.POWER, "failpoint publish.before exit", schedule.POWER)

    planned = schedule.plan(3, kinds=chosen)

    assert sorted(fault.label for fault in planned) == sorted(chosen)
    assert [fault.number for fault in planned] == [1, 2, 3]


@pytest.mark.parametrize(
    ("date", "off_s"),
    [
        ("Thu, 01 Jan 1970 00:16:40 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:16:39 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:16:44 GMT", 3.5),
        ("Thu, 01 Jan 1970 00:16:20 GMT", -19.0),
    ],
)
def test_a_clock_is_wrong_by_what_no_rounding_explains(date: str, off_s: float) -> None:
    assert least_error_s(date, before_s=1000.0, after_s=1000.5) == off_s


def test_faults_follow_one_another() -> None:
    for seed in range(20):
        faults = schedule.plan(seed)
        for earlier, later in pairwise(faults):
            assert later.at_s >= earlier.at_s + earlier.hold_s


@pytest.mark.parametrize(
    ("flags", "master"),
    [
        (b"master", "10.77.0.41"),
        (b"s_down,master", None),
        (b"s_down,o_down,master,disconnected", None),
        (b"master,failover_in_progress", None),
    ],
)
def test_a_master_that_a_sentinel_misses_or_replaces_is_none(
    flags: bytes, master: str | None
) -> None:
    told = [b"name", b"scores", b"ip", b"10.77.0.41", b"port", b"6379", b"flags", flags]

    assert system.view_of_master(told) == master


def test_a_machine_without_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert system.lacking() == ["The lab needs root: it makes network namespaces and mounts disks."]


def test_a_missing_program_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(system, "find", lambda name: None if name == "haproxy" else name)
    monkeypatch.setattr(system, "faketime", lambda: None)

    assert system.lacking() == [
        "The lab needs haproxy: apt-get install haproxy",
        "The lab needs libfaketime: apt-get install libfaketime",
    ]


def test_a_lab_run_demands_every_planned_fault() -> None:
    chosen = Plan(seed=1, short=False, lab=True, faults=tuple(schedule.plan(1)))

    assert chosen.demands.faults_min == schedule.FAULTS_IN_A_RUN
