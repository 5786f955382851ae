"""Bursts, visits and hot users are functions of the seed, and what no run can be is refused."""

import itertools
from collections import Counter, defaultdict

import pytest

from harness.engines.increments import Increments
from harness.measure.schedule import NS, mix
from harness.measure.settings import BadSettings, settings_from
from harness.measure.workload import Popularity, Workload, parse_slow


def dues(workload: Workload, length_s: float) -> list[float]:
    return [due / NS for _, due in workload.schedule(length_s)]


def test_bursts_multiply_the_rate_for_their_length_once_in_each_period() -> None:
    times = dues(Workload(rate="100", bursts="10x/1s/4s"), 10)

    by_second = Counter(int(time) for time in times)
    assert [by_second[s] for s in range(10)] == [100, 100, 100, 100, 1000, 100, 100, 100, 1000, 100]
    assert times == sorted(times)


def test_bursts_follow_a_ramp() -> None:
    times = dues(Workload(rate="100-300x10", bursts="2x/2s/5s"), 10)

    inside = sum(1 for time in times if 5 <= time < 7)
    assert inside == pytest.approx(2 * (200 + 240) / 2 * 2, abs=2)


def test_a_burst_can_be_a_pause() -> None:
    times = dues(Workload(rate="100", bursts="0x/1s/2s"), 4)

    assert Counter(int(time) for time in times) == {0: 100, 1: 100, 3: 100}


def test_a_visit_is_one_users_with_think_times_between() -> None:
    workload = Workload(rate="50", sessions="5/2s", players=1000, seed=7)
    increments = Increments(seed=7, players=1000, visit_length=workload.visit_length)

    steps = [*workload.schedule(60)]
    assert [due for _, due in steps] == sorted(due for _, due in steps)
    times: defaultdict[int, list[float]] = defaultdict(list)
    users: defaultdict[int, set[int]] = defaultdict(set)
    for number, due in steps:
        times[number // 5].append(due / NS)
        users[number // 5].add(increments.choose(number)[0])

    thinks = [b - a for visit in times.values() for a, b in itertools.pairwise(visit)]
    assert 1.0 <= min(thinks) <= max(thinks) <= 3.0
    assert sum(thinks) / len(thinks) == pytest.approx(2, rel=0.05)
    assert {len(each) for each in users.values()} == {1}
    late = [time for visit in times.values() for time in visit if 20 <= time < 60]
    assert len(late) / 40 == pytest.approx(50, rel=0.05)


def test_visits_of_several_processes_make_the_same_schedule_and_the_same_choices() -> None:
    workload = Workload(rate="100", sessions="3/500ms", players=9, hot_users="zipf:1.2", seed=3)

    def choices(count: int) -> list[tuple[int, int, int, int]]:
        found = []
        for index in range(count):
            popularity = workload.popularity()
            assert popularity is not None
            increments = Increments(seed=3, players=9, visit_length=3, popularity=popularity.user)
            for number, due in workload.schedule(5, slice_index=index, slice_count=count):
                found.append((due, number, *increments.choose(number)))
        return sorted(found)

    assert choices(1) == choices(2) == choices(3)


def test_a_users_gains_do_not_repeat_within_a_round_in_visits() -> None:
    increments = Increments(seed=1, players=2, visit_length=4)
    gains: defaultdict[int, list[int]] = defaultdict(list)
    for number in range(160):
        user, gain = increments.choose(number)
        gains[user].append(gain)

    assert all(len(set(each[:49])) == 49 for each in gains.values())


@pytest.mark.parametrize("gains", [(1, 10), (10, 10), (5, 6), (1, 100), (49, 97)])
def test_gains_are_those_that_the_server_takes_and_all_of_them_come(gains: tuple[int, int]) -> None:
    increments = Increments(seed=4, players=3, gains=gains)
    chosen: defaultdict[int, list[int]] = defaultdict(list)
    for number in range(1000):
        user, gain = increments.choose(number)
        chosen[user].append(gain)

    every = set(range(gains[0], gains[1] + 1))
    assert all(set(each[: len(every)]) == every for each in chosen.values())


def test_hot_users_follow_zipfs_law() -> None:
    popularity = Popularity(100, 1.0)

    counted = Counter(popularity.user(mix(1, number)) for number in range(50_000))

    harmonic = sum(1 / rank for rank in range(1, 101))
    for user in (1, 2, 10):
        assert counted[user] / 50_000 == pytest.approx(1 / user / harmonic, rel=0.1)
    assert min(counted) >= 1
    assert max(counted) <= 100


def test_a_share_of_slow_listeners_is_at_least_one() -> None:
    assert parse_slow("5%", 10) == (1, 1000)
    assert parse_slow("5%/200", 1000) == (50, 200)
    assert parse_slow("7/2k", 1000) == (7, 2000)
    assert parse_slow("", 1000)[0] == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"bursts": "10"}, "--bursts: '10' is no form of bursts"),
        ({"bursts": "2x/5s/5s"}, "shorter than its period"),
        ({"sessions": "0/2s"}, "a visit has 1 to 1000"),
        ({"sessions": "5x2"}, "--sessions: '5x2' is no form of visits; try 5/2s"),
        ({"hot_users": "zipf"}, "--hot-users: 'zipf' is no popularity"),
        ({"hot_users": "zipf:0"}, "with an exponent"),
        ({"reconnect_storm": "2m"}, "comes after the last submission"),
        ({"reconnect_storm": "soon"}, "--reconnect-storm: 'soon' is not a duration"),
        ({"reconnect_storm": "5", "listeners": "0"}, "--reconnect-storm needs listeners"),
        ({"slow_listeners": "100%"}, "leaves none that reads at full speed"),
        ({"slow_listeners": "some"}, "--slow-listeners: 'some' is no share"),
        ({"listeners_ramp_s": "90s"}, "not all listeners would come"),
        ({"listeners_ramp_s": "-1"}, "--listeners-ramp: '-1' is not a duration"),
        ({"listener_stay_s": "10ms"}, "--listener-stay must be at least 1 s"),
        ({"listener_stay_s": "9", "listeners": "0"}, "--listener-stay needs listeners"),
    ],
)
def test_traffic_that_no_run_can_be_is_refused(options: dict[str, str], told: str) -> None:
    with pytest.raises(BadSettings) as refused:
        settings_from({f"scoreboard_{name}": value for name, value in options.items()})

    assert told in str(refused.value)


def test_the_offered_load_counts_bursts() -> None:
    settings = settings_from({"scoreboard_rate": "100", "scoreboard_bursts": "10x/1s/10s"})

    # 65 s with the warm-up, and bursts at 10, 20, … 60 s.
    assert settings.submissions == pytest.approx(100 * 59 + 1000 * 6)
