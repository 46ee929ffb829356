"""What the best run of an entry kept, and how it used the ideas of the program."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from analysis.wording import many
from arena.contest.courses import CONFIRMATION, CONTEST, EntryRun
from programs.ideas import ProgramIdea

MOST_KEPT = 4  # edits


class TitledRun(EntryRun):
    title: str


@dataclass(frozen=True)
class KeptEdit:
    """An experiment that a run kept; ``better``: by how much its metric was better than that of the kept one before.
    ``of_idea``: whether it cites an idea of the program. ``skipped``: kept ones before it that are only named."""

    number: int
    description: str
    metric: float
    better: float
    of_idea: bool = False
    skipped: tuple[KeptEdit, ...] = ()

    @property
    def edit(self) -> str:
        """The edit alone, ``lr=0.03 +centre``, without the idea that named it; empty where the researcher described the
        change in its own words."""
        first = self.description.partition(": ")[0]
        return first if re.fullmatch(r"(\w+=\S+|\+\w+)( (\w+=\S+|\+\w+))*", first) else ""

    @property
    def name(self) -> str:
        return self.edit or self.description


@dataclass(frozen=True)
class IdeaUse:
    """How many ideas of a program the experiments of a run cite that it kept, only others cite, and none cites. A
    ``scripted`` researcher cites each idea that it tries; others need not."""

    kept: int
    tried: int
    rest: int
    scripted: bool = True

    @property
    def said(self) -> str:
        """A sentence; empty where nothing is known."""
        ideas = f"of the program’s {many(self.kept + self.tried + self.rest, 'idea')}"
        if self.scripted and self.kept + self.tried + self.rest:
            tried = f"{self.tried} more {'was' if self.tried == 1 else 'were'} tried but not kept"
            rest = f", {self.rest} not tried" if self.rest else ""
            return f"This run kept {self.kept} {ideas}; {tried}{rest}."
        if self.kept + self.tried:
            return f"The edits that it kept cite {self.kept} {ideas}; its other experiments cite {self.tried} more."
        return ""

    def origin(self, edit: KeptEdit) -> str:
        """Where a kept edit comes from, as far as it is known."""
        names = ("from its search", "from an idea") if self.scripted else ("cites no idea", "cites an idea")
        return names[edit.of_idea] if self.said else ""


@dataclass(frozen=True)
class BestRun:
    """The run of an entry with the highest verified gain, and the most useful of the ``kept`` edits, in their order.
    ``skipped``: kept ones after the last of them that are only named; ``least``: of several runs, the one with the
    lowest gain."""

    run: TitledRun
    least: TitledRun | None
    start: float  # metric of the untouched script
    end: float  # of the last that was kept
    edits: list[KeptEdit]
    kept: int
    skipped: tuple[KeptEdit, ...]
    ideas: IdeaUse


def best_run(runs: Sequence[TitledRun], ideas: Sequence[ProgramIdea] = (), *, scripted: bool = True) -> BestRun | None:
    """What the run with the highest verified gain kept; None where none is measured, or it has no baseline. The runs
    that decided count, else those of the board."""
    of_purposes = ([run for run in runs if run["purpose"] == purpose] for purpose in (CONFIRMATION, CONTEST))
    return next((best for of_entry in of_purposes if (best := _best(of_entry, ideas, scripted)) is not None), None)


def _best(of_entry: Sequence[TitledRun], ideas: Sequence[ProgramIdea], scripted: bool) -> BestRun | None:
    measured = [(run["gain"], run) for run in of_entry if run["gain"] is not None]
    if not measured:
        return None
    _, run = max(measured, key=lambda one: one[0])
    least: TitledRun | None = min(measured, key=lambda one: one[0])[1]
    sign = 1.0 if run["direction"] == "higher" else -1.0
    kept = [
        (row, row["metric"])
        for row in run["experiments"]
        if row["decision"] in ("baseline", "keep") and row["metric"] is not None
    ]
    if not kept or kept[0][0]["number"] != 0:
        return None
    listed = {idea.directive_id for idea in ideas}
    edits = [
        KeptEdit(
            row["number"],
            row["description"],
            metric,
            sign * (metric - before),
            not listed.isdisjoint(row["directive_ids"]),
        )
        for (_, before), (row, metric) in pairwise(kept)
    ]
    useful = sorted(edits, key=lambda edit: -edit.better)[:MOST_KEPT]
    shown: list[KeptEdit] = []
    skipped: tuple[KeptEdit, ...] = ()
    for edit in edits:
        if edit not in useful:
            skipped = (*skipped, edit)
            continue
        shown.append(replace(edit, skipped=skipped))
        skipped = ()
    use = idea_use(run, ideas, scripted)
    return BestRun(run, None if least is run else least, kept[0][1], kept[-1][1], shown, len(edits), skipped, use)


def idea_use(run: EntryRun, ideas: Sequence[ProgramIdea], scripted: bool) -> IdeaUse:
    tried = {directive for row in run["experiments"] for directive in row["directive_ids"]}
    kept = {one for row in run["experiments"] if row["decision"] == "keep" for one in row["directive_ids"]}
    of = {idea.directive_id for idea in ideas}
    return IdeaUse(len(of & kept), len(of & tried - kept), len(of - tried), scripted)
