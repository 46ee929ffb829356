"""The tasks of a study: every match is played on each of them, and a program is scored over all.

A score is the mean over tasks of a gain divided by the task's scale, stock's mean gain there in the search. With one
task there is no scale, and every figure stays in the task's unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis.evidence.over_tasks import over_tasks
from analysis.evidence.task_evidence import Evidence, evidence
from analysis.views.scales import SELECTING, GainScale, scale_of
from arena.arms import Entry, Match, TaskMatch, enter
from arena.match import play_on_tasks
from arena.measuring import settled_gains
from arena.race import ArmScore, Racer
from arena.study.study import Study
from arena.study.task_study import TaskStudy, tasks_of
from arena.work.executor import Executor, Progress
from trainer.streams import Stream
from trainer.task import Task

if TYPE_CHECKING:
    import duckdb

Scores = list[list[ArmScore]]  # by task, then by arm; the same arms in the same order


@dataclass(frozen=True)
class TaskSet:
    """A study on each of its tasks, or on one held-out task; the first one names the matches."""

    studies: tuple[TaskStudy, ...]

    @classmethod
    def of(cls, study: Study) -> TaskSet:
        return cls(tuple(tasks_of(study)))

    def __iter__(self) -> Iterator[TaskStudy]:
        return iter(self.studies)

    @property
    def study(self) -> Study:
        return self.studies[0].study

    @property
    def tasks(self) -> list[Task]:
        return [each.task for each in self]

    @property
    def several(self) -> bool:
        return len(self.studies) > 1

    def enter(
        self, label: str, entries: Iterable[Entry], *, purpose: str, stream: Stream, generation: int | None = None
    ) -> list[Match]:
        """The same entries in a match on each task; beside the first, its label names the task."""
        entered = list(entries)
        return [
            enter(
                task_study,
                f"{label}-{task_study.task.name}" if number else label,
                entered,
                purpose=purpose,
                stream=stream,
                generation=generation,
            )
            for number, task_study in enumerate(self)
        ]

    def play(self, executor: Executor, matches: Sequence[Match], racer: Racer, progress: Progress) -> Scores:
        """Play the matches together. The racer sees the scores over all tasks, and its runs are made on each."""
        scales = self.scales(before=matches[0].generation)
        together = [TaskMatch(task_study, match) for task_study, match in zip(self, matches, strict=True)]
        return play_on_tasks(
            together, executor, racer, progress, lambda scores: self.combined(scores, matches[0], scales)
        )

    def combined(self, scores: Sequence[list[ArmScore]], match: Match, scales: Sequence[GainScale]) -> list[ArmScore]:
        """Scores of the first match's arms over all tasks: the mean of the runs of one index, each in its task's scale.

        Before the first race has ended there are no scales. Then they come from the runs that all arms have in this
        match, which later rounds do not change.
        """
        if not self.several:
            return scores[0]
        sizes = [scale.size for scale in scales or self.first_scales(scores, match)]

        def mean(gains: Sequence[float]) -> float:
            return sum(gain / size for gain, size in zip(gains, sizes, strict=True)) / len(sizes)

        return [
            ArmScore(
                arm[0].arm_id, arm[0].raced, tuple(map(mean, zip(*(on_task.gains for on_task in arm), strict=False)))
            )
            for arm in zip(*scores, strict=True)
        ]

    def first_scales(self, scores: Sequence[list[ArmScore]], match: Match) -> list[GainScale]:
        common = min(len(arm.gains) for arms in scores for arm in arms)
        return [
            scale_of(
                task_study.task.name,
                task_study.task.unit,
                [(arm.program.program_id, score.gains[:common]) for arm, score in zip(match.arms, arms, strict=True)],
            )
            for task_study, arms in zip(self, scores, strict=True)
        ]

    def scales(self, before: int | None = None) -> list[GainScale]:
        """By task, from all races that have ended, of generations before ``before``; none before the first race."""
        if not self.several:
            return []
        state = self.study.state
        raced = [
            match
            for match_id, match in state.matches.items()
            if match_id in state.ended_matches and match.purpose in SELECTING
            if before is None or (match.generation or 0) < before
        ]
        played = [[match for match in raced if match.task == task_study.task.name] for task_study in self]
        if not all(played):
            return []
        return [
            scale_of(
                task_study.task.name,
                task_study.task.unit,
                [(arm.program_id, settled_gains(task_study, arm.arm_id)) for match in matches for arm in match.arms],
            )
            for task_study, matches in zip(self, played, strict=True)
        ]


def evidence_on(task: Task, con: duckdb.DuckDBPyConnection, exclude_matches: Sequence[str]) -> Evidence:
    """The evidence about one task, with its edits and the values that its untouched files have."""
    facts = evidence(con, task.name, exclude_matches=exclude_matches)
    return replace(facts, space=task.edits, untouched=task.edits.config(task.baseline()))


def evidence_of(study: Study, con: duckdb.DuckDBPyConnection, exclude_matches: Sequence[str]) -> Evidence:
    """The evidence of an open study, over all tasks where there are several."""
    tasks = TaskSet.of(study)
    parts = [evidence_on(task, con, exclude_matches) for task in tasks.tasks]
    return over_tasks(parts, tasks.scales()) if tasks.several else parts[0]
