"""A simulated cluster against what can be worked out by hand, and with nodes that die."""

from __future__ import annotations

import statistics
from dataclasses import replace
from random import Random

import pytest

from arena.contest.running.queue import Costs, Waiting, turns
from bench.simulation.course import Course, simulate
from bench.simulation.order import Entry, Turns, entries_of
from bench.simulation.world import Spread, World, think_for

EXACT = World(
    nodes=1, devices_per_node=2, organizations=2, entries=1, runs=2, experiments=3, verify=1,
    experiment=Spread(100.0), launch=0.0, start_seconds=0.0,
)  # fmt: skip
FAILING = World(
    nodes=8, devices_per_node=4, entries=4, failure_seconds=240.0, repair=Spread(300.0, 0.5), ghosts=0.5,
    experiments=8, think=Spread(100.0, 0.5), runs_per_device=2,
)  # fmt: skip


def test_without_thought_death_and_start_up_devices_are_never_idle() -> None:
    told = simulate(EXACT, 1)
    assert told.hours == pytest.approx(4 * 2 * 100.0 / 3600)  # 4 runs of 4 trainings on 2 devices
    assert told.utilization == pytest.approx(1.0) and told.per_hour == pytest.approx(told.possible)
    assert told.jain == pytest.approx(1.0) and told.spread == pytest.approx(0.0)
    assert told.wait_median == 0.0 and told.lost == told.twice == 0


def test_start_up_and_launch_are_time_in_which_nothing_is_trained() -> None:
    told = simulate(replace(EXACT, start_seconds=50.0, launch=10.0), 1)
    assert told.hours == pytest.approx((50.0 + 8 * 110.0) / 3600)
    assert told.utilization == pytest.approx(800.0 / 930.0)


def test_a_device_leased_for_a_run_idles_while_it_thinks() -> None:
    world = replace(EXACT, think=Spread(100.0), organizations=4, verify=0)
    leased = simulate(world, 1)
    assert leased.utilization == pytest.approx(0.5)
    shared = simulate(replace(world, runs_per_device=2), 1)
    # The first thought, then one trains while the other thinks; in the end the second's last training.
    assert shared.utilization > 0.9 and shared.hours < 0.6 * leased.hours


def test_runs_that_share_devices_stand_on_all_nodes() -> None:
    world = replace(EXACT, nodes=2, organizations=4, runs=1)
    assert simulate(replace(world, runs_per_device=3), 1).hours == simulate(world, 1).hours


def test_the_public_run_is_reproduced_by_its_time_of_thought() -> None:
    assert think_for(90, 192) == pytest.approx(340.0)
    told = simulate(World(think=Spread(think_for(90, 192), 0.5), verify=0, launch=0.0), 1)
    assert 85 < told.per_hour < 95 and 188 < told.possible < 196


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_counted_twice_where_nodes_die(seed: int) -> None:
    course = Course(FAILING, seed)
    told = course.run()
    assert (told.lost, told.twice) == (0, 0)
    assert told.deaths > 10 and told.moved > 20 and told.wasted_share > 0.0
    assert sum(course.meter.recorded.values()) == 12 * 4 * 4 * 10 and sum(course.meter.results.values()) == 12 * 4 * 4
    steps = {run: {i for r, i in course.meter.recorded if r == run} for run in course.meter.results}
    assert all(found == set(range(10)) for found in steps.values())


def test_results_told_by_nodes_that_were_given_up_are_met() -> None:
    """Some count, some come too late; both kinds must have happened for the test above to say anything."""
    courses = [Course(replace(FAILING, experiments=2, verify=0, ghosts=1.0), seed) for seed in range(4)]
    told = [course.run() for course in courses]
    assert sum(one.dropped for one in told) > 0
    trained = sum(len(course.meter.useful) for course in courses)
    recorded = sum(sum(course.meter.recorded.values()) for course in courses)
    assert recorded > trained  # the difference was told late, and counted
    assert all((one.lost, one.twice) == (0, 0) for one in told)


def test_devices_never_train_two_things_at_once() -> None:
    course = Course(replace(FAILING, waves=0.3, wave=3), 1)
    assert course.run().twice == 0
    changes = sorted(change for start, end, k, _ in course.meter.useful for change in ((start, k), (end, -k)))
    busy = most = 0
    for _, change in changes:
        busy += change
        most = max(most, busy)
    assert 16 < most <= course.world.devices


def test_the_same_seed_gives_the_same_course() -> None:
    assert simulate(FAILING, 1) == simulate(FAILING, 1) != simulate(FAILING, 2)


def test_organizations_have_alike_though_one_has_many_more_entries() -> None:
    world = replace(EXACT, organizations=3, runs=1, experiments=1, verify=0)
    entries = [Entry(0, 1, 0.0) for _ in range(30)] + [Entry(0, who, 0.0) for who in (2, 3) for _ in range(10)]
    made = iter(entries_of(replace(world, entries=10), Random(1)))
    for number, entry in enumerate(entries, 1):
        entry.number, entry.left = (
            number,
            [replace(next(made).left[0], organization=entry.organization)]
            if (number <= 30)
            else [replace(entries[number - 31].left[0], run_id=f"x{number}", organization=entry.organization)],
        )
    order = Turns(entries)
    order.arrive(0.0)
    first = [next(order).organization for _ in range(30)]
    assert [first.count(who) for who in (1, 2, 3)] == [10, 10, 10]
    assert [run.organization for run in order] == [1] * 20 and not order.left


def test_the_order_is_that_of_the_contests_queue() -> None:
    world = World(organizations=4, entries=3, runs=2)
    entries = entries_of(world, Random(1))
    shown = [Waiting(entry.number, entry.organization, world.runs, screening=False) for entry in entries]
    order = Turns(entries)
    order.arrive(0.0)
    assert [run.entry for run in order] == list(turns(shown, {}, Costs(0.0, 1.0)))


def test_seed_by_seed_plays_the_first_run_of_every_entry_first() -> None:
    course = Course(replace(EXACT, order="seeds", organizations=3), 1)
    course.order.arrive(0.0)
    assert [run.run_id for run in course.order] == ["1-0", "2-0", "3-0", "1-1", "2-1", "3-1"]


def test_a_spread_has_the_mean_that_it_is_asked_for() -> None:
    rng = Random(1)
    drawn = [Spread(300.0, 0.5).draw(rng) for _ in range(20_000)]
    assert statistics.fmean(drawn) == pytest.approx(300.0, rel=0.02)
    assert statistics.stdev(drawn) == pytest.approx(150.0, rel=0.05)
    assert max(Spread(300.0, 0.1, 1.25).draw(rng) for _ in range(2000)) <= 375.0
