"""The home tasks of a study: what is played is played on each of them, and a program is scored over all.

A score is the mean over tasks of a gain divided by the task's scale, stock's mean gain there in the search. With one
task there is no scale, and every figure is what it was measured as.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from analysis.evidence import Evidence, evidence
from analysis.over_tasks import over_tasks
from analysis.scales import GainScale, scale_of
from arena.executor import Executor, Progress
from arena.match import PAIRED, Entry, Match, enter, gains_of, play_on
from arena.race import ArmScore, Racer
from arena.study import Study
from meta.claim import Against, Claim, claim, claim_over
from meta.novelty import Novelty
from programs.program import Program
from programs.shelf import starter
from trainer.streams import Stream
from trainer.task import Task

if TYPE_CHECKING:
    import duckdb

Scores = list[list[ArmScore]]  # by task, then by arm; the same arms in the same order


class Homes:
    """A study on each of its home tasks, the first before the others."""

    def __init__(self, places: Sequence[Study]) -> None:
        self.places = list(places)

    @classmethod
    def of(cls, study: Study) -> Homes:
        return cls(study.on_tasks())

    @property
    def tasks(self) -> list[Task]:
        return [place.task for place in self.places]

    @property
    def here(self) -> str:
        """As a sentence ends with it."""
        return "on each of the tasks" if self.several else "on this task"

    @property
    def several(self) -> bool:
        return len(self.places) > 1

    def behaviour(self, program: Program) -> str:
        """Equal for programs that behave alike on every task."""
        return self.novelty().behaviour(program)

    def novelty(self) -> Novelty:
        first, *further = self.tasks
        return Novelty(first, self.places[0].config.researcher, further)

    def tell_apart(self, one: Program, other: Program) -> bool:
        """Whether they behave differently on any of the tasks."""
        return self.behaviour(one) != self.behaviour(other)

    def enter(
        self, label: str, entries: Iterable[Entry], *, purpose: str, stream: Stream, generation: int | None = None
    ) -> list[Match]:
        """The same entries in a match on each task; beside the first, its label names the task."""
        entered, how = list(entries), {"purpose": purpose, "stream": stream, "generation": generation}
        first, *others = self.places
        matches = [enter(first, label, entered, **how)]  # type: ignore[arg-type]
        return matches + [enter(p, f"{label}-{p.task.name}", entered, **how) for p in others]  # type: ignore[arg-type]

    def play(self, executor: Executor, matches: Sequence[Match], racer: Racer, progress: Progress) -> Scores:
        """Play them together: a racer goes by the scores over all tasks, and who is wanted runs on each of them."""
        scales = self.scales(before=matches[0].generation)
        return play_on(
            list(zip(self.places, matches, strict=True)), executor, racer, progress,
            lambda found: self.over(found, matches[0], scales),
        )  # fmt: skip

    def over(self, found: Sequence[list[ArmScore]], match: Match, scales: Sequence[GainScale]) -> list[ArmScore]:
        """Scores of the first match's arms over all tasks: the mean of their runs of one number, each in its scale.

        While no race has ended there are no scales: then they come from what all arms have run here, which the rounds
        that follow do not change.
        """
        if not self.several:
            return found[0]
        sizes = [scale.size for scale in scales or self.first_scales(found, match)]
        return [
            ArmScore(arm[0].arm_id, arm[0].raced, tuple(
                sum(gain / size for gain, size in zip(gains, sizes, strict=True)) / len(sizes)
                for gains in zip(*(on_task.gains for on_task in arm), strict=False)
            ))
            for arm in zip(*found, strict=True)
        ]  # fmt: skip

    def first_scales(self, found: Sequence[list[ArmScore]], match: Match) -> list[GainScale]:
        stock = starter("stock").program_id
        common = min(len(arm.gains) for arms in found for arm in arms)
        return [
            _scale(
                place, [(a.program.program_id, s.gains[:common]) for a, s in zip(match.arms, arms, strict=True)], stock
            )
            for place, arms in zip(self.places, found, strict=True)
        ]

    def scales(self, before: int | None = None) -> list[GainScale]:
        """By task, from all races that have ended, of earlier generations than ``before``; none before there is one."""
        if not self.several:
            return []
        state, stock = self.places[0].state, starter("stock").program_id
        raced = [
            match
            for match_id, match in state.matches.items()
            if match_id in state.ended_matches and match.purpose in PAIRED
            if before is None or (match.generation or 0) < before
        ]
        played = [[m for m in raced if m.task == place.task.name] for place in self.places]
        if not all(played):
            return []
        return [
            _scale(place, [(arm.program_id, gains_of(place, arm.arm_id)) for m in on for arm in m.arms], stock)
            for place, on in zip(self.places, played, strict=True)
        ]

    def evidence(self, con: duckdb.DuckDBPyConnection, exclude_matches: Sequence[str]) -> Evidence:
        """What an open study knows of its tasks; over several, as `analysis.over_tasks` puts them together."""
        parts = [evidence(con, task.name, exclude_matches=exclude_matches) for task in self.tasks]
        return over_tasks(parts, self.scales()) if self.several else parts[0]

    def claim(self, matches: Sequence[Match], played: Scores) -> Claim:
        """The one test on matches that only tell."""
        gains = [
            {arm.role: score.gains for arm, score in zip(match.arms, scores, strict=True)}
            for match, scores in zip(matches, played, strict=True)
        ]
        measured = [against(place, match.match_id) for place, match in zip(self.places, matches, strict=True)]
        if not self.several:
            return claim(gains[0], measured[0], (self.tasks[0].name, self.tasks[0].unit))
        return claim_over(list(zip(self.scales(), gains, measured, strict=True)))


def against(study: Study, match_id: str) -> Against:
    """Of the match that confirms, as the ledger holds it."""
    match = study.state.matches[match_id]
    roles = {arm.arm_id: arm.role for arm in match.arms}
    held: dict[str, list[bool]] = {role: [] for role in roles.values()}
    for event in study.state.verifications():
        if event.arm_id in roles:
            held[roles[event.arm_id]].append(event.status == "ok")
    measured = [row for key, row in study.state.baselines.items() if key[:2] == (match.task, match.stream)]
    metrics = [row.metric for row in measured if row.status == "ok" and row.metric is not None]
    return Against(tuple(metrics), {role: sum(seen) / max(1, len(seen)) for role, seen in held.items()})


def _scale(place: Study, arms: Iterable[tuple[str, Sequence[float]]], stock: str) -> GainScale:
    """Of (program, gains) of each arm; all arms of stock are one sample."""
    by_program: dict[str, list[float]] = {}
    for program_id, gains in arms:
        by_program.setdefault(program_id, []).extend(gains)
    return scale_of(place.task.name, place.task.unit, by_program.pop(stock, []), by_program.values())
