"""A trace is played as it was recorded, for the target's users; a wrong file is told by line."""

import gzip
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from harness.engines.increments import LEAST, MOST, Increments
from harness.measure.schedule import NS
from harness.measure.settings import BadSettings, RunSettings, settings_from
from harness.measure.trace import plan, trace_file
from harness.measure.trace.options import rate_of
from harness.measure.trace.plan import Trace
from harness.measure.trace.rows import BadTrace, rows_of
from harness.measure.trace.trace_file import TraceFile, read_trace

CSV = """at_s,user,score,country
0.5,ann,10,de
0,bob,-3,fr
2,ann,,it
"""
LOG = r"""203.0.113.9 - ann [28/Nov/2026:10:00:00 +0000] "POST /scores/update HTTP/1.1" 200 52
203.0.113.9 - - [28/Nov/2026:10:00:00 +0000] "GET /scores HTTP/1.1" 200 520 "-" "curl \"8\""
203.0.113.9 - - [28/Nov/2026:11:00:00 +0100] "PUT /a?user=7&by=12 HTTP/1.1" 500 - "-" "x"
10.0.0.7 - "" [28/Nov/2026:10:00:02 +0000] "\x16\x03\x01" 400 150
10.0.0.7 - bob smith [28/Nov/2026:10:00:01 +0000] "POST /a?user=9&by=30 HTTP/1.1" 403 0
"""


def trace_of(folder: Path, text: str, pattern: str = "") -> Trace:
    path = folder / "trace"
    path.write_text(text, "utf-8")
    return read_trace(path, pattern)


def played(trace: Trace, length_s: float = 0.0) -> list[tuple[float, str, int]]:
    steps = islice(trace.schedule(length_s), trace.submissions)
    known = trace.for_users({}, len(trace.users))
    names = [trace.users[known.user(number) - 1] for number in range(trace.submissions)]
    return [(due / NS, names[number], trace.increment(number)) for number, due in sorted(steps)]


def test_csv_is_played_in_the_order_of_its_times(tmp_path: Path) -> None:
    assert played(trace_of(tmp_path, CSV)) == [(0, "bob", -3), (0.5, "ann", 10), (2, "ann", 0)]


@pytest.mark.parametrize(
    "times",
    [
        ("1790000000", "1790000000.5", "1790000002"),
        ("2026-11-28T10:00:00", "2026-11-28T10:00:00.500", "2026-11-28T10:00:02Z"),
        ("2026-11-28T12:00:00+02:00", "2026-11-28T10:00:00.5Z", "2026-11-28 10:00:02+00:00"),
    ],
    ids=["epoch", "utc", "zones"],
)
def test_absolute_times_count_from_the_first(tmp_path: Path, times: tuple[str, ...]) -> None:
    rows = "".join(f"{time},u\n" for time in times)

    assert [at for at, _, _ in played(trace_of(tmp_path, f"at_s,user\n{rows}"))] == [0, 0.5, 2]


def test_access_log_tells_who_by_its_remote_user_or_address(tmp_path: Path) -> None:
    found = played(trace_of(tmp_path, LOG))

    assert found == [(0, "ann", 0), (0.5, "203.0.113.9", 0), (1, "bob smith", 0)]


def test_pattern_says_which_lines_whose_and_how_much(tmp_path: Path) -> None:
    found = played(trace_of(tmp_path, LOG, r"user=(?P<user>\d+)&by=(?P<score>\d+)"))

    assert found == [(0, "7", 12), (1, "9", 30)]


def test_submissions_of_one_second_of_a_log_are_spread_over_it(tmp_path: Path) -> None:
    line = '1.2.3.4 - u{} [28/Nov/2026:10:00:0{} +0000] "POST /s HTTP/1.1" 200 1\n'
    # Servers write a request when it ends: a little out of order.
    order = [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0), (5, 0)]

    found = played(trace_of(tmp_path, "".join(line.format(*each) for each in order)))

    assert [(at, user) for at, user, _ in found] == [
        *[(0, "u0"), (0.25, "u2"), (0.5, "u4"), (0.75, "u5")],
        *[(1, "u1"), (1.5, "u3")],
    ]


def test_file_that_was_compressed_is_read(tmp_path: Path) -> None:
    path = tmp_path / "access.log.1.gz"
    path.write_bytes(gzip.compress(LOG.encode()))

    assert read_trace(path).submissions == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: expected a header such as at_s,user,score"),
        ("when,who\n1,ann\n", "line 1: expected a header such as at_s,user,score"),
        ("at_s,name\n1,ann\n", "line 1: expected a column 'user'"),
        ("at_s,user\n1,ann\n\n2\n", "line 4: expected 2 fields, at_s,user, found '2'"),
        ("at_s,user\nsoon,ann\n", "line 2: expected at_s in seconds, such as 0.25"),
        ("at_s,user\n-1,ann\n", "line 2: expected at_s in seconds"),
        ("at_s,user\nnan,ann\n", "line 2: expected at_s in seconds"),
        ("at_s,user\n1790000000000,ann\n", "line 2: expected at_s in seconds"),
        ("at_s,user\n9999-01-01,ann\n", "line 2: expected at_s in seconds"),
        ("at_s,user\n1,a\n2026-11-28T10:00:00Z,a\n", "line 3: expected at_s in seconds"),
        ("at_s,user\n1, \n", "line 2: expected a user of 1 to 256 characters"),
        ("at_s,user,score\n1,a,1.5\n", "line 2: expected a whole score up to 1,000,000, not 0"),
        ("at_s,user,score\n1,a,0\n", "line 2: expected a whole score"),
        ("at_s,user,score\n1,a,1000001\n", "line 2: expected a whole score"),
        ('at_s,user\n1,"ann\n', "line 2: expected 2 fields"),
        ("at_s,user\n", "none of its 1 lines is a submission"),
        (LOG + "{}\n", "line 6: expected a line such as 203.0.113.9 - alice ["),
        (LOG.replace("28/Nov", "31/Nov", 1), "line 1: expected a date as in 203.0.113.9"),
        (LOG.replace("Nov", "Nox", 1), "line 1: expected a date as in 203.0.113.9"),
        ("at_s,user\n1," + "x" * 9000, "line 2: expected at most 8,192 bytes"),
    ],
)
def test_wrong_line_is_told_with_its_number_and_the_form(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(BadTrace) as refused:
        trace_of(tmp_path, text)

    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("(", "--trace-pattern '(' is no regular expression"),
        ("nothing", "none of its 5 lines --trace-pattern matches"),
        (r"by=(?P<score>\d+.)", "line 3: expected a whole score"),
    ],
)
def test_wrong_pattern_is_told(tmp_path: Path, pattern: str, told: str) -> None:
    with pytest.raises(BadTrace) as refused:
        trace_of(tmp_path, LOG, pattern)

    assert told in str(refused.value)


def test_pattern_is_refused_beside_csv() -> None:
    with pytest.raises(BadTrace, match="for access logs, and this is CSV"):
        rows_of(CSV.splitlines(), "x")


def test_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_file, "SUBMISSIONS_MAX", 2)
    with pytest.raises(BadTrace, match="line 4: more than 2 submissions, the most that a trace"):
        trace_of(tmp_path, CSV)
    monkeypatch.setattr(trace_file, "BYTES_MAX", 30)
    with pytest.raises(BadTrace, match="line 2: more than 0 MiB, the most that is read"):
        trace_of(tmp_path, CSV)


def test_speed_divides_every_time(tmp_path: Path) -> None:
    twice = trace_of(tmp_path, CSV).at_speed(2)

    assert [due / NS for _, due in twice.schedule(1.5)] == [0, 0.25, 1]
    assert twice.length_s == pytest.approx(1.5)
    assert twice.rate == pytest.approx(2)


def test_longer_run_begins_it_again_with_numbers_of_its_own(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, CSV)

    steps = [*trace.schedule(8)]

    assert [number for number, _ in steps] == [*range(8)]
    assert [due / NS for _, due in steps] == [0, 0.5, 2, 3, 3.5, 5, 6, 6.5]
    assert [trace.count(length) for length in (0.5, 3, 3.9, 4.1, 8, 9.6)] == [1, 3, 3, 5, 8, 11]
    assert len([*trace.schedule(3.9)]) == 3


def test_slices_make_the_whole_trace(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(CSV)
    workload = settings_from(
        {"scoreboard_trace": str(tmp_path / "t.csv"), "scoreboard_duration_s": "20"}
    ).workload

    parts = [list(workload.schedule(25, slice_index=k, slice_count=3)) for k in range(3)]

    assert sorted(step for part in parts for step in part) == list(workload.schedule(25))


def test_users_are_the_targets_own_by_name_and_the_others_in_turn() -> None:
    users = ("new", "ann", "other", "u-3", "third")
    trace = Trace.of(range(5), range(5), [0] * 5, users)

    mapped = trace.for_users({"ann": 2, "u-3": 3}, players=4)

    assert [mapped.user(number) for number in range(5)] == [1, 2, 4, 3, 1]
    assert "of its 5 users 2 are the target's by name or id, 3 get its others in turn (more" in (
        trace.about({"ann": 2, "u-3": 3}, 4)
    )


def test_amounts_are_the_traces_and_otherwise_those_that_name_their_submission() -> None:
    trace = Trace.of(range(200), [0] * 200, [5, *[0] * 199], ["ann"]).for_users({}, players=3)
    increments = Increments(seed=1, players=3, trace=trace)

    chosen = [increments.choose(number) for number in range(200)]

    assert {user for user, _ in chosen} == {1}
    assert chosen[0][1] == 5
    own = Counter(increment for _, increment in chosen[1:50])
    assert all(LEAST <= increment <= MOST for increment in own)
    assert max(own.values()) == 1


# As options of a run


def settings(folder: Path, text: str = CSV, **options: str) -> RunSettings:
    path = folder / "t.csv"
    path.write_text(text)
    asked = {"trace": str(path), "warmup_s": "1", **options}
    return settings_from({f"scoreboard_{name}": value for name, value in asked.items()})


def test_run_takes_as_long_as_its_trace_and_has_its_rate(tmp_path: Path) -> None:
    found = settings(tmp_path)

    assert (found.duration_s, found.rate, found.trace_speed) == (2, "1", 1)
    assert found.submissions == 3


def test_rate_beside_a_trace_says_how_fast_it_is_played(tmp_path: Path) -> None:
    found = settings(tmp_path, rate="500/s", duration_s="10s")

    assert found.trace_speed == pytest.approx(500)
    assert found.submissions == pytest.approx(5500, abs=3)


def test_settings_that_were_settled_stay_as_they_are(tmp_path: Path) -> None:
    for options in ({}, {"rate": "1000/s", "duration_s": "10"}, {"trace_speed": "0.7x"}):
        once = settings(tmp_path, **options)
        again = settings_from({f"scoreboard_{n}": v for n, v in vars(once).items()})
        typed = settings_from(
            {
                "scoreboard_trace": str(once.trace),
                "scoreboard_rate": once.rate,
                "scoreboard_trace_speed": f"{once.trace_speed:g}",
                "scoreboard_duration_s": f"{once.duration_s:g}s",
                "scoreboard_warmup_s": "1",
            }
        )

        assert replace(again, slo="") == replace(once, slo="")
        assert list(typed.workload.schedule(3))[-1][1] == pytest.approx(
            list(once.workload.schedule(3))[-1][1], rel=1e-3
        )


def test_log_that_grows_changes_no_run(tmp_path: Path) -> None:
    found = settings(tmp_path)
    (tmp_path / "t.csv").write_text("at_s,user\n0,x\n")

    assert found.workload.played is not None
    assert found.workload.played.submissions == 3
    assert TraceFile.read(found.trace) is found.trace
    assert found.to_json()["trace"] == str(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"trace": "absent.csv"}, "--trace: absent.csv: No such file"),
        ({"warmup_s": "3"}, "it lasts 3 s, and the warm-up takes 3 of them"),
        ({"bursts": "2x/1s/3s"}, "--bursts and --trace: a trace has its own times"),
        ({"sessions": "5/1s"}, "--sessions and --trace"),
        ({"hot_users": "zipf:1"}, "--hot-users and --trace"),
        ({"arrivals": "poisson"}, "--arrivals poisson and --trace"),
        ({"rate": "1-5x3"}, "--rate 1-5x3: beside a trace it is one rate, such as 500/s"),
        ({"rate": "0"}, "--rate 0 is 0 times the rate of the trace"),
        ({"rate": "5", "trace_speed": "2"}, "--trace-speed and --rate both say how fast"),
        ({"trace_speed": "0"}, "'0' is no speed; try 2 for twice as fast"),
        ({"trace_speed": "inf"}, "is no speed"),
        ({"trace": "", "trace_speed": "2"}, "--trace-speed needs --trace"),
        ({"trace": "", "trace_pattern": "x"}, "--trace-pattern needs --trace"),
        ({"trace_pattern": "x"}, "for access logs"),
    ],
)
def test_options_that_have_no_place_beside_a_trace_are_refused(
    tmp_path: Path, options: dict[str, str], told: str
) -> None:
    with pytest.raises(BadSettings) as refused:
        settings(tmp_path, **options)

    assert told in str(refused.value)


def test_trace_of_more_than_thirty_days_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="lasts 58 days, and a run 30 at most"):
        settings(tmp_path, "at_s,user\n0,a\n2500000,b\n")


def test_trace_of_one_submission_can_be_played(tmp_path: Path) -> None:
    found = settings(tmp_path, "at_s,user\n5,a\n", warmup_s="0")

    assert found.duration_s == 1
    assert found.rate == rate_of(trace_of(tmp_path, "at_s,user\n5,a\n")) == "1"
    assert plan.SUBMISSIONS_MAX == 1_000_000
