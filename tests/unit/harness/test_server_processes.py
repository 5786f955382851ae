"""The processes of a foreign server are found on this machine, and only there."""

import os
import socket

from harness.measure.bottleneck import FOREIGN, name_bottleneck, usage_of
from harness.net.server_processes import absent_processes, server_processes


def test_who_listens_at_a_loopback_port_is_the_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()[:2]

        assert server_processes(address) == [os.getpid()]
        assert server_processes(("10.1.2.3", address[1])) == []


def test_children_are_counted_with_the_process_that_was_asked_for() -> None:
    pids = f"{os.getpid()},{os.getppid()}"

    assert server_processes(("h", 1), pids=pids) == [os.getppid()]


def test_nothing_is_found_under_a_name_that_no_program_has() -> None:
    assert server_processes(("127.0.0.1", 1), name="no-such-program") == []


def test_processes_asked_for_that_do_not_run_are_named() -> None:
    assert absent_processes(pids=str(os.getpid()), name="") == ""
    assert "999999999" in absent_processes(pids=f"{os.getpid()},999999999", name="")
    assert "'no-such-program'" in absent_processes(pids="", name="no-such-program")


def usage(**cores: float) -> str:
    processes = {name: {"cpu": cpu, "rss_mib": 1.0} for name, cpu in cores.items()}
    machine = {"busy": 0.5, "iowait": 0.0}
    return name_bottleneck(usage_of([{"machine": machine, "processes": processes}], 4))


def test_the_bottleneck_of_a_server_that_is_not_seen_is_unknown() -> None:
    assert usage(**{"harness submitters": 0.2}).startswith(
        "unknown: no process of the server is seen"
    )


def test_one_full_core_of_a_foreign_server_is_told_with_its_reserve() -> None:
    assert usage(**{FOREIGN: 0.97}) == (
        "the server under test: it uses 0.97 cores, all that one thread can"
    )
    assert usage(**{FOREIGN: 1.4}).startswith("no resource is full")
