"""A command that is told no budget: a charter's screen is carried out with full experiments."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arena.audit.verify import How, Sample
from inner_loop.behaviour import behaviour_id, inert_directives
from programs.shelf import starter
from tests.inner_loop.play import play, program
from tests.trainer import foreign_repos
from trainer.streams import Streams
from trainer.task import Task

SCREEN = "screen: {fraction: 0.25, promote: 0.5}\nwave: 3\nproposers: {local: 1.0}"


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """A shell script of constants; an experiment is taken to cost 1 s."""
    folder = tmp_path_factory.mktemp("whole") / "task"
    return foreign_repos.made(foreign_repos.shell(folder), replace(foreign_repos.SHELL, budget=1.0))


def test_a_screening_charter_trains_every_candidate_in_full(task: Task) -> None:
    trainer = foreign_repos.trainer_of(task, fixed_steps=True)
    played = play(trainer, program(SCREEN), 8, full=task.cost_seconds)
    assert not task.scales and len(played.experiments) > 4
    assert {event["fraction"] for event in played.experiments} == {1.0} and not played.decided("screen")
    charged = [event["device_seconds_charged"] for event in played.experiments]
    assert charged == [pytest.approx(task.cost_seconds)] * len(charged)


def test_a_screen_makes_no_other_behaviour_there(task: Task) -> None:
    screened, plain = (program(f"{text}wave: 3") for text in ("screen: {fraction: 0.25, promote: 0.5}\n", ""))
    assert behaviour_id(screened, task) == behaviour_id(plain, task)
    assert [directive.text for directive in inert_directives(starter("local-screen"), task)].count(
        "screen.promote: 0.16"
    )


def test_a_source_is_not_tried_untrained_there(task: Task) -> None:
    sample, how = Sample("source", task.baseline(), 3, ablate=True), How(Streams.from_seed(1))
    assert [job.fraction for job in sample.jobs(task, how)] == [1.0] * 3
    takes_budget = replace(foreign_repos.ORIGINAL, command="TIME={budget} python train.py")
    scaled = foreign_repos.made(foreign_repos.original(task.folder.parent / "scaled"), takes_budget)
    assert [job.fraction for job in sample.jobs(scaled, how)] == [1.0] * 3 + [0.02] * 3
