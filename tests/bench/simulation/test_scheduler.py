"""Places and jobs, without processes: who goes where, what comes back, and that nothing is lost or done twice."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bench.simulation.scheduler import Node, Placement, Scheduler, Want


@dataclass(frozen=True)
class Ask:
    job_id: str
    devices: int = 1


def want(job: Ask) -> Want:
    return Want(job.job_id, job.devices)


def asks(*sizes: int) -> list[Ask]:
    return [Ask(f"job{i}", size) for i, size in enumerate(sizes)]


def scheduler(*devices: int) -> Scheduler[Ask]:
    made: Scheduler[Ask] = Scheduler(want)
    for i, count in enumerate(devices):
        made.join(Node(f"n{i}", count))
    return made


def place_all(made: Scheduler[Ask], coming: Iterator[Ask]) -> list[Placement[Ask]]:
    return list(iter(lambda: made.next_placement(coming), None))


def test_jobs_are_asked_for_only_when_a_place_is_free() -> None:
    made, asked = scheduler(2), []

    def coming() -> Iterator[Ask]:
        for i in itertools.count():
            asked.append(i)
            yield Ask(str(i))

    jobs = coming()
    first, second = place_all(made, jobs)
    assert asked == [0, 1] and (first.devices, second.devices) == ((0,), (1,))
    assert made.result(second.ticket)
    (third,) = place_all(made, jobs)
    assert asked == [0, 1, 2] and third.devices == (1,) and third.job.job_id == "2"


def test_what_gives_jobs_may_end_and_go_on() -> None:
    made = scheduler(2)
    assert made.next_placement(iter([])) is None
    assert [placed.job.job_id for placed in place_all(made, iter(asks(1)))] == ["job0"]


def test_a_gang_stands_on_one_node_and_on_different_devices() -> None:
    made = scheduler(2, 4)
    (placed,) = place_all(made, iter(asks(3)))
    assert (placed.node, placed.devices) == ("n1", (0, 1, 2))


def test_small_jobs_fill_the_fullest_node_that_has_room() -> None:
    made = scheduler(8, 2)
    placed = place_all(made, iter(asks(1, 1, 8)))
    assert [p.node for p in placed] == ["n1", "n1", "n0"]


def test_places_that_share_devices_are_spread_over_the_nodes() -> None:
    made: Scheduler[Ask] = Scheduler(want, spread=True)
    for name, places in (("a", 4), ("b", 6)):
        made.join(Node(name, places))
    assert [p.node for p in place_all(made, iter(asks(1, 1, 1, 1, 2)))] == ["b", "b", "a", "b", "a"]


def test_a_large_job_does_not_starve_behind_small_ones() -> None:
    made, small = scheduler(4, 4), (Ask(f"s{i}") for i in itertools.count())
    first = place_all(made, itertools.islice(small, 7))
    jobs = itertools.chain([Ask("big", 4)], small)
    assert made.next_placement(jobs) is None  # the one free device is kept
    kept = {p.node for p in first if sum(q.node == p.node for q in first) == 3}
    others = [p for p in first if p.node not in kept]
    began: list[Placement[Ask]] = []
    for placed in [p for p in first if p.node in kept]:
        assert made.result(placed.ticket) and made.result(others.pop().ticket)
        began += place_all(made, jobs)
        others += [p for p in began if p.job.job_id != "big" and p not in others]
    big = next(p for p in began if p.job.job_id == "big")
    assert big.node in kept and all(p.node not in kept for p in began if p is not big)
    assert len(began) >= 3  # the other node went on meanwhile


def test_where_a_kept_node_dies_another_is_kept() -> None:
    made = scheduler(4, 4)
    jobs = iter(asks(1, 4, 4, 1))
    small, large = place_all(made, jobs)
    assert (small.node, large.node, [job.job_id for job in made.waiting]) == ("n0", "n1", ["job2"])
    made.leave("n0")
    made.result(large.ticket)
    (again,) = place_all(made, jobs)
    assert (again.job, again.node, [job.job_id for job in made.waiting]) == (small.job, "n1", ["job2"])
    made.result(again.ticket)
    assert [(p.job.job_id, p.node) for p in place_all(made, jobs)] == [("job2", "n1")]


def test_a_result_counts_once() -> None:
    made = scheduler(1)
    (placed,) = place_all(made, iter(asks(1)))
    assert made.result(placed.ticket) and not made.result(placed.ticket)
    assert not made.in_flight and not made.waiting


def test_the_jobs_of_a_dead_node_go_elsewhere_in_front_of_all_others() -> None:
    made = scheduler(2, 2)
    jobs = iter(asks(1, 1, 1, 1, 1))
    place_all(made, jobs)
    made.leave("n0")
    assert made.next_placement(jobs) is None and [job.job_id for job in made.waiting] == ["job0", "job1"]
    made.join(Node("n0", 3))
    again = place_all(made, jobs)
    assert [(p.job.job_id, p.attempt) for p in again] == [("job0", 1), ("job1", 1), ("job4", 0)]


def test_of_two_results_the_first_counts_though_its_node_was_given_up() -> None:
    made = scheduler(1, 1)
    (early,) = place_all(made, iter(asks(1)))
    made.leave(early.node)
    (late,) = place_all(made, iter([]))
    assert made.result(early.ticket)
    assert made.superfluous() == [late] and list(made.in_flight) == [late.ticket]  # its device is busy all the same
    assert not made.result(late.ticket) and not made.in_flight


def test_a_late_result_of_a_waiting_job_takes_it_out_of_the_queue() -> None:
    made = scheduler(1)
    (early,) = place_all(made, iter(asks(1)))
    made.leave("n0")
    assert made.waiting and made.result(early.ticket) and not made.waiting
    made.join(Node("n0", 1))
    assert made.next_placement(iter([])) is None


def test_a_place_that_was_given_up_cannot_interrupt() -> None:
    made = scheduler(1, 1)
    (early,) = place_all(made, iter(asks(1)))
    made.leave(early.node)
    (second,) = place_all(made, iter([]))
    assert not made.result(early.ticket, whole=False)
    assert made.result(second.ticket, whole=False)


def test_an_interrupted_job_may_be_asked_for_again_a_running_one_not() -> None:
    made, (job,) = scheduler(2), asks(1)
    (placed,) = place_all(made, iter([job]))
    with pytest.raises(ValueError, match="job0 is in hand"):
        made.next_placement(iter([job]))
    assert made.result(placed.ticket, whole=False)
    (again,) = place_all(made, iter([job]))
    assert made.result(again.ticket)


def test_a_job_taken_off_its_place_waits_in_front() -> None:
    made = scheduler(1)
    jobs = iter(asks(1, 1))
    (placed,) = place_all(made, jobs)
    made.give_back(placed.ticket)
    (again,) = place_all(made, jobs)
    assert again.job == placed.job and not made.result(placed.ticket)


def test_a_node_is_here_once() -> None:
    made = scheduler(1)
    with pytest.raises(ValueError, match="n0"):
        made.join(Node("n0", 1))


class World:
    """Anything that may happen, in any order, and what must hold after each of it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.made: Scheduler[Ask] = Scheduler(want)
        self.all_nodes = [Node(f"n{i}", self.rng.choice([1, 2, 4, 8])) for i in range(self.rng.randint(2, 7))]
        self.all_nodes.append(Node("large", 8))  # so that every job has a place where it can go
        self.given: list[Ask] = []
        self.counted: list[str] = []
        self.total = self.rng.randint(20, 120)
        self.old: list[Placement[Ask]] = []  # each placement that ever was

    def __iter__(self) -> Iterator[Ask]:
        return self

    def __next__(self) -> Ask:
        if len(self.given) >= self.total:
            raise StopIteration
        size = self.rng.choice([1, 1, 1, 2, 4, 8])
        self.given.append(Ask(f"j{len(self.given)}", size))
        return self.given[-1]

    def place(self) -> bool:
        placed = self.made.next_placement(self)
        if placed is None:
            return False
        node = self.made.nodes[placed.node]  # a KeyError: it does not live
        assert want(placed.job).suits(node) and len(set(placed.devices)) == placed.job.devices
        assert all(0 <= device < node.devices for device in placed.devices)
        assert placed.job.job_id not in self.counted
        assert placed.ticket not in {p.ticket for p in self.old}
        self.old.append(placed)
        return True

    def tell(self, placed: Placement[Ask]) -> None:
        if self.made.result(placed.ticket):
            self.counted.append(placed.job.job_id)

    def step(self) -> None:
        made, kind = self.made, self.rng.random()
        flying = list(made.in_flight.values())
        if kind < 0.35:
            self.place()
        elif kind < 0.65 and flying:
            self.tell(self.rng.choice(flying))
        elif kind < 0.72 and self.old:
            self.tell(self.rng.choice(self.old))  # too late, twice, or just in time
        elif kind < 0.82 and flying:
            made.give_back(self.rng.choice(flying).ticket)
        elif kind < 0.9 and made.nodes:
            made.leave(self.rng.choice(list(made.nodes)))
        else:
            away = [node for node in self.all_nodes if node.name not in made.nodes]
            if away:
                made.join(self.rng.choice(away))
        self.check()

    def check(self) -> None:
        made = self.made
        busy = [(p.node, device) for p in made.in_flight.values() for device in p.devices]
        assert len(busy) == len(set(busy)) and {node for node, _ in busy} <= set(made.nodes)
        assert len(self.counted) == len(set(self.counted))
        superfluous = {p.ticket for p in made.superfluous()}
        held = [p.job.job_id for t, p in made.in_flight.items() if t not in superfluous]
        held += [job.job_id for job in made.waiting] + self.counted
        assert sorted(held) == sorted(job.job_id for job in self.given)

    def finish(self) -> None:
        """Nodes die no more: all that is left is carried out within so many steps as there are jobs."""
        for node in self.all_nodes:
            if node.name not in self.made.nodes:
                self.made.join(node)
        for _ in range(2 * self.total + 2):
            while self.place():
                self.check()
            for placed in list(self.made.in_flight.values())[:1]:
                self.tell(placed)
        assert not self.made.in_flight and not self.made.waiting and len(self.given) == self.total
        self.check()


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_whatever_happens_no_job_is_lost_or_counted_twice(first: int) -> None:
    for seed in range(first, first + 50):
        world = World(seed)
        for _ in range(world.rng.randint(50, 400)):
            world.step()
        world.finish()
        assert sorted(world.counted) == sorted(job.job_id for job in world.given)


@pytest.mark.parametrize("seed", range(20))
def test_a_gang_waits_no_longer_than_what_was_there_before_it(seed: int) -> None:
    """Behind it come small jobs without end; it begins once all that were asked for before it have ended."""
    rng = random.Random(seed)
    made = scheduler(*(rng.choice([2, 4, 8]) for _ in range(5)), 8)
    small = [Ask(f"s{i}", rng.choice([1, 1, 2])) for i in range(2000)]
    jobs = itertools.chain(small[:200], [Ask("big", 8)], small[200:])
    before, running = {job.job_id for job in small[:200]}, place_all(made, jobs)
    while not any(placed.job.job_id == "big" for placed in running):
        left = {placed.job.job_id for placed in running} | {job.job_id for job in made.waiting}
        assert not any(job.job_id == "big" for job in made.waiting) or left & before
        made.result(rng.choice(running).ticket)
        place_all(made, jobs)
        running = list(made.in_flight.values())
