"""A restart of a process of the stack is seen in the samples, told and shaded."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from harness.judge.result import restarts_of
from harness.measure.bottleneck import usage_of
from harness.measure.series import FINE_S, STEP_S
from harness.net.target import Target
from harness.report.charts import shades_of
from harness.report.document import Fault, LoadResult
from harness.report.plots import Axis, Line, line_plot
from harness.run.resources import ProcessGauge, Sampler, thin
from tests.support.eventually import eventually_sync
from tests.unit.harness.documents import decoded, run_document


def sample(second: int, **pids: int) -> dict[str, Any]:
    """A pid below zero is one that has died and is still in the books."""
    return {
        "t": second,
        "processes": {
            "harness submitters": {"cpu": 0.5, "rss_mib": 90.0},
            **{
                name: {"cpu": 0.1, "rss_mib": 50.0 if pid > 0 else 0.0, "pid": abs(pid)}
                for name, pid in pids.items()
            },
        },
    }


def test_restart_spans_last_old_sample_to_first_new_sample() -> None:
    samples = [
        sample(0, server=10, redis=20),
        sample(1, server=10, redis=20),
        sample(2, server=-10, redis=20),
        sample(3, redis=20),
        sample(4, server=11, redis=20),
        sample(5, server=11, redis=21),
    ]

    assert restarts_of(samples) == [
        Fault(name="server restarted", start=1, end=4),
        Fault(name="redis restarted", start=4, end=5),
    ]


def test_processes_that_stay_are_no_faults() -> None:
    assert restarts_of([sample(n, server=10, redis=20) for n in range(5)]) == []


def test_the_sampler_follows_the_state_file_to_the_new_process(tmp_path: Path) -> None:
    def state(pid: int) -> dict[str, Any]:
        found = {"data_dir": str(tmp_path), "processes": {"redis": {"pid": pid}}}
        (tmp_path / "state.json").write_text(json.dumps(found))
        return found

    target = Target(base_url="http://127.0.0.1:9", state=state(os.getpid()))
    sampler = Sampler(target, {})
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        before = {"t": 0, **sampler.sample()}
        state(other.pid)
        after = {"t": 1, **sampler.sample()}
        other.communicate(b"\n")
    sampler.close()

    assert before["processes"]["redis"]["pid"] == os.getpid()
    assert restarts_of([before, after]) == [Fault(name="redis restarted", start=0, end=1)]


def test_process_with_its_own_gauge_is_excluded_from_its_parent() -> None:
    sleeps = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", sleeps], stdin=subprocess.PIPE) as child:
        family = psutil.Process(child.pid)
        eventually_sync(lambda: len(family.children()) == 1)
        below = family.children()[0].pid

        everything = {process.pid for process in ProcessGauge(os.getpid())._family()}
        without = {process.pid for process in ProcessGauge(os.getpid(), {child.pid})._family()}
        child.communicate(b"\n")

    assert {child.pid, below} <= everything
    assert os.getpid() in without
    assert not {child.pid, below} & without


def test_a_fault_is_shaded_and_named_in_the_plots() -> None:
    document = decoded(
        LoadResult,
        run_document(
            window={"start": 0, "end": 9},
            faults=[{"name": "server restarted", "start": 3, "end": 5}],
        ),
    )

    svg = line_plot(
        "t",
        [Line(name="n", points=[(0, 1.0), (9, 1.0)])],
        axis=Axis(),
        shades=[shade for shade in shades_of(document) if shade.kind == "fault"],
    )

    assert 'class="fault"' in svg
    assert svg.count("server restarted") == 2


def test_samples_of_more_than_an_hour_ago_become_minutes_with_the_same_means() -> None:
    samples: list[dict[str, Any]] = []
    whole: list[dict[str, Any]] = []
    for second in range(-5, FINE_S + 300):
        busy = {"machine": {"busy": second % 7 / 10, "iowait": 0.0, "available_mib": second + 9}}
        whole.append({**sample(second, server=10 + (second > 80)), **busy})
        samples.append(whole[-1])
        thin(samples, measured_from=5)

    spans = [s for s in samples if "span_s" in s]
    assert len(samples) < FINE_S + STEP_S + 20
    assert [s["t"] for s in spans[:2]] == [5 + STEP_S - 1, 5 + 2 * STEP_S - 1]
    assert [s["t"] for s in samples[:10]] == [*range(-5, 5)]
    assert spans[0]["machine"]["available_mib"] == 5 + 9
    exact, kept = usage_of(whole, 2), usage_of(samples, 2)
    assert exact is not None
    assert kept is not None
    assert abs(exact.busy - kept.busy) < 1e-4
    assert exact.cores == kept.cores
    [restart] = restarts_of(samples)
    assert (restart.name, restart.start) == ("server restarted", 5 + STEP_S - 1)
