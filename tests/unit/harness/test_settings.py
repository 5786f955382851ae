"""Options of a run are read as people write them, and wrong ones are told together, in time."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from harness.cli.load import load, settings_of
from harness.measure.quantities import parse_rate, parse_seconds, parse_whole
from harness.measure.settings import (
    BadSettings,
    RunSettings,
    add_options,
    settings_from,
)
from harness.measure.slo import DEFAULT_LIMITS, canonical
from harness.wrong_use import connections_that_fit


class LocustLike(argparse.ArgumentParser):
    """Takes `env_var`, as Locust's parser does."""

    def add_argument(self, *names: Any, env_var: str = "", **options: Any) -> argparse.Action:
        del env_var
        return super().add_argument(*names, **options)


def parsed(*words: str, for_locust: bool = False) -> RunSettings:
    if not for_locust:
        return settings_of(load.make_context("load", list(words)).params)
    parser = LocustLike()
    add_options(parser)
    return settings_from(vars(parser.parse_args(words)))


def faults(**values: Any) -> list[str]:
    with pytest.raises(BadSettings) as refused:
        settings_from({f"scoreboard_{name}": value for name, value in values.items()})
    return str(refused.value).splitlines()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 10),
        ("10s", 10),
        ("1m", 60),
        ("1m30s", 90),
        ("500ms", 0.5),
        ("0.5", 0.5),
        ("1h", 3600),
    ],
)
def test_duration_is_read_with_or_without_a_unit(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "rate"), [("1000", 1000), ("1k", 1000), ("2.5k/s", 2500), ("120/m", 2), ("1M", 1e6)]
)
def test_rate_is_read_per_second(text: str, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1e9", "", "10 s", "s", "0x5", "9" * 400])
@pytest.mark.parametrize("read", [parse_seconds, parse_rate, parse_whole])
def test_no_quantity_is_negative_or_not_finite(text: str, read: Any) -> None:
    with pytest.raises(ValueError, match=r"is not|is longer|is more"):
        read(text)


@pytest.mark.parametrize("for_locust", [True, False])
def test_options_left_out_give_the_defaults(for_locust: bool) -> None:
    assert parsed(for_locust=for_locust) == RunSettings(slo=canonical(DEFAULT_LIMITS))


def test_options_are_read_as_people_write_them() -> None:
    settings = parsed(
        *("--duration", "1m", "--warmup", "2s", "--timeout", "500ms", "--late-limit", "0.1s"),
        *("--rate", "1k", "--players", "10k", "--slo", "p99:250ms"),
    )

    assert settings == RunSettings(
        duration_s=60,
        warmup_s=2,
        timeout_s=0.5,
        late_limit_ms=100,
        rate="1k",
        players=10_000,
        slo="p99:250ms,errors<=1%,dropped<=0%",
    )


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "soon"])
@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("--timeout", "timeout_s"),
        ("--late-limit", "late_limit_ms"),
        ("--warmup", "warmup_s"),
        ("--duration", "duration_s"),
    ],
)
def test_no_duration_is_negative_or_not_finite(flag: str, name: str, value: str) -> None:
    [fault] = faults(**{name: value})

    assert fault.startswith(f"{flag}: {value!r} is not a duration")
    if value != "soon":
        with pytest.raises(BadSettings, match=flag):
            RunSettings(**dict[str, Any]({name: float(value)}))


@pytest.mark.parametrize("name", ["timeout_s", "late_limit_ms"])
def test_timeout_and_late_limit_are_more_than_zero(name: str) -> None:
    [fault] = faults(**{name: "0"})

    assert "must be more than 0" in fault


def test_no_run_is_shorter_than_the_second_that_its_rates_are_counted_in() -> None:
    [fault] = faults(duration_s="500ms", rate="100")

    assert "--duration must be at least 1 s" in fault
    assert settings_from({"scoreboard_duration_s": "1"}).duration_s == 1
    assert settings_from({"scoreboard_duration_s": "0"}).duration_s == 0, "until stopped"


def test_all_errors_are_reported_at_once() -> None:
    told = faults(rate="fast", players="0", duration_s="-1", listeners="x", slo="p150<1s,errors<5")

    assert sorted(line.split(":")[0].split()[0] for line in told) == sorted(
        ["--rate", "--players", "--duration", "--listeners", "--slo", "--slo"]
    )


def test_locusts_command_line_refuses_a_wrong_value_itself(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed("--late-limit", "nan", for_locust=True)

    assert ended.value.code == 2
    assert "'nan' is not a duration" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"slo": "lag_p99<1s", "listeners": 0}, "needs listeners, and --listeners is 0"),
        (
            {"slo": "p99.9<1s", "rate": "100", "duration_s": 3.0},
            "needs at least 10,000 submissions; --rate 100 makes 300 in the 3 s measured",
        ),
    ],
)
def test_limit_that_the_run_cannot_measure_is_refused(values: Any, told: str) -> None:
    [fault] = faults(**values)

    assert told in fault


@pytest.mark.parametrize(
    "values",
    [
        {"slo": "p99<1s", "rate": "100", "duration_s": 10.0},
        {"slo": "p99<1s", "rate": "60", "duration_s": 10.0, "arrivals": "poisson"},
        {"slo": "p99.9<1s", "rate": "1", "duration_s": 0.0},
        {"slo": "errors<1%,goodput>1/s", "rate": "1", "duration_s": 1.0, "listeners": 0},
    ],
)
def test_limit_that_the_run_may_measure_is_taken(values: Any) -> None:
    assert RunSettings(**values).slo == values["slo"]


def test_file_of_limits_is_read_when_the_run_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "slo.toml"
    path.write_text('p99 = "250ms"\nerrors = "<0.1%"\n')

    settings = parsed("--slo", f"@{path}")

    assert settings.slo == "p99:250ms,errors<0.1%,dropped<=0%"


@pytest.mark.parametrize(
    ("words", "slo"),
    [
        (("--slo", "none"), "none"),
        (("--slo", "none,p99:250ms"), "none,p99:250ms"),
        (("--slo", "errors:5%,dropped:1%"), "errors:5%,dropped:1%"),
        (("--slo", "none", "--rate", "0"), ""),
        (("--rate", "0"), ""),
        (("--rate", "0", "--slo", "lag_p99:1s"), "lag_p99:1s"),
    ],
)
def test_default_limits_are_changed_or_left_out_by_name(words: tuple[str, ...], slo: str) -> None:
    settings = parsed(*words)

    assert settings.slo == slo
    # The coordinator reads the text that the command line made of it.
    rate = ("--rate", "0") if "--rate" in words else ()
    assert parsed(*rate, "--slo", settings.slo) == settings


def test_share_of_submissions_is_refused_as_a_limit_where_none_are_made() -> None:
    [fault] = faults(slo="errors:2%", rate="0")

    assert "needs submissions" in fault


def test_listeners_beyond_the_descriptor_limit_are_refused() -> None:
    settings = RunSettings(listeners=400, connections=4096)

    with pytest.raises(BadSettings, match="needs about 464 file descriptors"):
        connections_that_fit(settings, workers=1, descriptors=200)
    assert connections_that_fit(settings, workers=4, descriptors=200) == 4 * 136
    assert connections_that_fit(settings, workers=1, descriptors=524_288) == 4096
    assert connections_that_fit(settings, workers=1, descriptors=-1) == 4096


def test_process_that_submits_and_listens_shares_its_descriptors() -> None:
    settings = RunSettings(listeners=400, connections=4096)

    assert connections_that_fit(settings, workers=1, descriptors=1024, together=True) == 560
    assert connections_that_fit(settings, workers=1, descriptors=464, together=True) == 1
