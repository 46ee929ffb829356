"""Two studies side by side: how far their champions differ, in gain and in text, and their settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import unified_diff
from typing import TYPE_CHECKING, Any, cast

from analysis.decision_text import OTHER_LOAD
from analysis.statistics import interval, satterthwaite, welch_difference
from analysis.wording import listed, many, plain_number
from meta.cli.compared_settings import NONE
from meta.cli.gain_difference import (
    SAME_IN_BOTH,
    ComparedStudy,
    GainDifference,
    conditions,
    gain_differences,
    joined,
    purpose_of,
    together,
)
from meta.cli.programs_in_both import BestPrograms, best_programs, better_script, is_partial, ran_in_both
from meta.cli.standings_text import named
from programs.diff import moved
from programs.program import Program

if TYPE_CHECKING:
    from meta.cli.board import ArmView, MatchView, StudyView
    from meta.cli.output import Row

MOST_LIMITS = 5
SHORT_DIFF = 24  # lines; of a longer one the counts
OWN_DATA = (
    "Intervals are over runs only, but each study has its own seeds and data. The programs that ran in both show how "
    "much these and the machine change a gain (intervals of several: Bonferroni correction)."
)
OF_LEADS = (
    "Leads over stock and evolution's own share (the lead over the program that a champion started from) are of "
    "programs of one study, so what data and machine add to both cancels."
)
OF_SEARCH = (
    "Averages of the search are not tested: a race gives more runs to programs that did well, so part of a difference "
    "is luck, and the gain of the best one is too high on average."
)
PARTIAL = ", so the runs of its confirmation so far are left out"
OWN_SHARE = "evolution's own share in "
LEAD = "lead over stock of "


@dataclass(frozen=True)
class ComparedChampions:
    """``differences``: of the champions, one for each task of both; ``same``: of each program that ran in both studies,
    in the deciding matches if it ran in both, else on another stream; ``leads``: of the champions' leads over stock;
    ``shares``: over the program that each started from; ``best``: what did best in each study; ``loaded``: studies
    during which the machine had other load; ``not_compared``: why there is no difference, for each task; ``names``:
    where a champion also ran in the other study by another name."""

    differences: tuple[GainDifference, ...] = ()
    same: tuple[GainDifference, ...] = ()
    not_compared: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    leads: tuple[GainDifference, ...] = ()
    shares: tuple[GainDifference, ...] = ()
    best: tuple[BestPrograms, ...] = ()
    loaded: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[GainDifference, ...]:
        return (*self.differences, *self.same, *self.leads, *self.shares)

    @property
    def answer(self) -> list[str]:
        """Which champion gained more, and whose best train.py is better, on each task."""
        answers = [_answer(each) for each in self.differences]
        tasks = dict.fromkeys(one.task for one in self.best)
        pairs = ([one for one in self.best if one.task == task] for task in tasks)
        scripts = [better_script(pair) for pair in pairs if len(pair) == 2]
        return [*(f"Not compared: {why}." for why in self.not_compared), *answers, *filter(None, scripts)]

    @property
    def rows(self) -> list[Row]:
        """The differences for a table whose columns are the studies, with the task where there are several."""
        rows = [each.row for each in self.all]
        several = len({row["task"] for row in rows}) > 1
        return rows if several else [{**row, "task": None} for row in rows]

    @property
    def best_rows(self) -> list[Row]:
        """What did best in each study, for the same columns."""
        rows: dict[tuple[str, str], dict[str, object]] = {}
        several = len({one.task for one in self.best}) > 1
        for one in self.best:
            for what, size in one.cells.items():
                empty: dict[str, object] = {
                    "task": one.task if several else None,
                    "compared": what,
                    "first": "",
                    "second": "",
                }
                row = rows.setdefault((one.task, what), empty)
                row["second" if one.side else "first"] = size
        return list(rows.values())

    @property
    def limits(self) -> list[str]:
        """What limits the comparison, at most five sentences."""
        searched = any(one.of_search for one in self.same) or any(one.programs for one in self.best)
        said = ((OWN_DATA, self.all), (OF_LEADS, self.leads or self.shares), (OF_SEARCH, searched))
        return [*self.caveats, *(text for text, of in said if of), *self.names][:MOST_LIMITS]

    @property
    def caveats(self) -> list[str]:
        both = " and ".join(self.loaded)
        return [f"{OTHER_LOAD} during {both}: differences between the studies may come from it."] if both else []


def _answer(d: GainDifference) -> str:
    figures = f"{d.first} {plain_number(d.values[0], d.digits)}, {d.second} {plain_number(d.values[1], d.digits)}"
    differ = f"difference (second minus first) {d.size}"
    answers = {
        "significantly different": f"{d.second if d.difference > 0 else d.first} gained more",
        "not distinguishable": "the champions' gains do not differ significantly",
    }
    answer = answers.get(d.result, f"it is open which champion gained more ({d.result})")
    return f"On {d.task}, {answer}: {figures}, {differ}."


def champions(first: ComparedStudy, second: ComparedStudy) -> ComparedChampions:
    """The difference of the champions' verified gains on each task of both studies, where it can be known, and that of
    each program that ran in both."""
    decided = _decided(first, second)
    counted_there = {(each.task, each.program_id) for each in (*decided.same, *decided.differences)}
    further = [one for one in ran_in_both(first, second) if (one.task, one.program_id) not in counted_there]
    best = (*best_programs(first, 0), *best_programs(second, 1))
    loaded = tuple(one.name for one in (first, second) if (d := one.board.decision) and d.pace and d.pace.other_load)
    return replace(decided, same=together((*decided.same, *further)), best=best, loaded=loaded)


def _decided(first: ComparedStudy, second: ComparedStudy) -> ComparedChampions:
    """From the matches that decide the verdicts."""
    names = tuple(other_names(first, second))
    without = [
        f"{one.name} has no verdict{PARTIAL * any(is_partial(one, m) for m in one.board.matches.values())}"
        for one in (first, second)
        if one.board.decision is None
    ]
    if without:
        return ComparedChampions(not_compared=tuple(without), names=names)
    ours, theirs = ({str(m.event.get("task")): m for m in one.board.deciding} for one in (first, second))
    shared = [task for task in ours if task in theirs]
    if not shared:
        both = " and ".join(listed(tasks) for tasks in (ours, theirs))
        return ComparedChampions(not_compared=(f"the studies have no task in common ({both})",), names=names)
    differences, same, leads, shares, not_compared = [], [], [], [], []
    for task in shared:
        pair = (first, ours[task]), (second, theirs[task])
        if why := differing(*pair):
            not_compared.append(f"on {task}, {why}")
            continue
        champion = [arm.program_id for _, match in pair if (arm := arm_of(match, "champion"))]
        differences += _difference(*pair, (champion[0], champion[1])) if len(champion) == 2 else []
        there = {arm.program_id for arm in pair[1][1].arms.values()} - (
            set(champion) if len(set(champion)) == 1 else set()
        )
        for identity in dict.fromkeys(arm.program_id for arm in pair[0][1].arms.values()):
            same += _difference(*pair, (identity, identity)) if identity in there else []
        leads += _lead_difference(*pair, "control")
        shares += _lead_difference(*pair, "start")
    groups = [tuple(each) for each in (differences, same, leads, shares)]
    return ComparedChampions(groups[0], groups[1], tuple(not_compared), names, groups[2], groups[3])


def other_names(first: ComparedStudy, second: ComparedStudy) -> Iterator[str]:
    """Names of different programs, then where the champion of one study is a program of the other by another name."""
    ours, theirs = ({one.board.name(key): key for key in one.board.programs} for one in (first, second))
    if alike := [name for name, identity in ours.items() if theirs.get(name, identity) != identity]:
        yield f"Not the same program in both studies in spite of its name: {listed(alike)}."
    said = set()
    for own, other in ((first, second), (second, first)):
        champion = (own.board.champion or {}).get("program_id") or ""
        if champion in other.board.programs and champion not in said:
            said.add(champion)
            here, there = own.board.name(champion), other.board.name(champion)
            if here != there:
                yield f"{here}, the champion of {own.name}, is the same program as {there} of {other.name}."


def differing(*pair: tuple[ComparedStudy, MatchView]) -> str:
    """Why the gains of two matches are not comparable; empty where they are."""
    known = [conditions(study.board, match) for study, match in pair]
    shown = [
        f"{words} differs ({known[0][key] or NONE} and {known[1][key] or NONE})"
        for key, words in SAME_IN_BOTH
        if known[0][key] != known[1][key]
    ]
    return "; ".join(shown)


def _difference(
    first: tuple[ComparedStudy, MatchView], second: tuple[ComparedStudy, MatchView], programs: tuple[str, str]
) -> list[GainDifference]:
    """Of the runs of these programs in all their arms; none without runs."""
    gains = [counted(match, identity) for (_, match), identity in zip((first, second), programs, strict=True)]
    task, unit = str(first[1].event.get("task")), conditions(first[0].board, first[1])["unit"]
    is_stock = any(arm.role == "control" and arm.program_id == programs[0] for arm in first[1].arms.values())
    stream = joined(str(match.event.get("stream") or "") for _, match in (first, second))
    purpose = joined(purpose_of(match) for _, match in (first, second))
    return gain_differences((first[0], second[0]), programs, gains, task, unit, stream, purpose, is_stock)


def _lead_difference(
    first: tuple[ComparedStudy, MatchView], second: tuple[ComparedStudy, MatchView], role: str
) -> list[GainDifference]:
    """Of the champions' leads over the arm of this role: Welch's interval for four means; none without an interval, for
    a champion that is that program, or for two controls that are different programs."""
    arms = [[arm_of(match, one) for _, match in (first, second)] for one in ("champion", role)]
    (ours, theirs), (below, other_below) = [[arm.program_id if arm else "" for arm in pair] for pair in arms]
    different = role == "control" and below != other_below
    if not (ours and theirs and below and other_below) or different or ours == below or theirs == other_below:
        return []
    champion = _difference(first, second, (ours, theirs))
    base = [counted(match, identity) for (_, match), identity in ((first, below), (second, other_below))]
    one = welch_difference(counted(first[1], ours), base[0])
    other = welch_difference(counted(second[1], theirs), base[1])
    if not champion or one[0] is None or other[0] is None or not one[1] or not other[1]:
        return []
    se = math.hypot(one[1], other[1])
    df = satterthwaite([(one[1] ** 2, one[2]), (other[1] ** 2, other[2])])
    lead = other[0] - one[0]
    low, high = interval(lead, se, df)
    what, of = (LEAD, "stock") if role == "control" else (OWN_SHARE, "the programs they started from")
    named = replace(champion[0], first=what + champion[0].first, second=what + champion[0].second, gains=None)
    named = replace(named, compared=what.removesuffix(" of ").removesuffix(" in "), values=(one[0], other[0]))
    return [replace(named, difference=lead, low=low, high=high, se=se, df=df, below=of, is_stock=False)]


def arm_of(match: MatchView, role: str) -> ArmView | None:
    return next((arm for arm in match.arms.values() if arm.role == role), None)


def counted(match: MatchView, program_id: str) -> list[float]:
    """The verified gains of a program's finished runs, in all its arms: stock has two."""
    return [gain for arm in match.arms.values() if arm.program_id == program_id for gain in arm.gains]


@dataclass(frozen=True)
class ChampionTexts:
    """How the text of the second champion differs from that of the first: numbers of lines and the lines, without those
    that only moved, and the ideas that moved."""

    added: int
    removed: int
    lines: tuple[str, ...]
    moved: tuple[str, ...] = ()

    @property
    def short(self) -> tuple[str, ...]:
        """The lines after their sign, without a list's own mark, which looks like a second sign."""
        lines = (f"{line[0]} {line[1:].strip().removeprefix('- ')}" for line in self.lines)
        return tuple(lines) if len(self.lines) <= SHORT_DIFF else ()

    @property
    def sentence(self) -> str:
        if not self.lines and not self.moved:
            return "The two champions have the same text."
        moves = [f"{many(len(self.moved), 'idea')} moved"] if self.moved else []
        lines = [f"{many(self.removed, 'line')} removed, {self.added} added"] if self.lines else []
        return f"From the first champion to the second: {', '.join([*moves, *lines])}."


def texts(first: StudyView, second: StudyView) -> ChampionTexts | None:
    """None where a study has no champion."""
    both = [text for board in (first, second) if (text := text_of(board)) is not None]
    if len(both) < 2:
        return None
    lines = list(unified_diff(both[0].splitlines(), both[1].splitlines(), n=0, lineterm=""))[2:]
    both_ways = {line[1:] for line in lines if line[0] == "-"} & {line[1:] for line in lines if line[0] == "+"}
    moves = tuple(str(one) for one in moved(*(Program.parse(text) for text in both)))
    lines = [line for line in lines if not line.startswith("@@") and (line[1:] not in both_ways or not moves)]
    return ChampionTexts(sum(x[0] == "+" for x in lines), sum(x[0] == "-" for x in lines), tuple(lines), moves)


def text_of(board: StudyView) -> str | None:
    """The text of the champion; None without one."""
    identity = (board.champion or {}).get("program_id") or ""
    text = cast("Mapping[str, Any]", board.programs.get(identity, {})).get("text")
    return None if text is None else str(text)


@dataclass(frozen=True)
class ShownMatch:
    """``decides``: whether the verdict was made from it. ``arms``: rows for a table, with the mean verified gain of the
    arm's runs and its 95% interval."""

    title: str
    decides: bool
    arms: list[Row]


def verdict(board: StudyView) -> str:
    return str((board.champion or {}).get("verdict") or "no verdict")


def shown_matches(board: StudyView) -> list[ShownMatch]:
    """The matches that decide the verdict, then those on held-out tasks, which differ from study to study."""
    deciding, decided = board.deciding, board.decision is not None
    held_out = [m for m in board.matches.values() if m.event.get("purpose") == "reserve" and m not in deciding]
    return [_shown_match(board, m, decided) for m in deciding] + [_shown_match(board, m, False) for m in held_out]


def _shown_match(board: StudyView, match: MatchView, decides: bool) -> ShownMatch:
    held_out = match.event.get("purpose") == "reserve"
    so_far = " (so far)" * (match.state == "running")
    role = " (held-out, not part of the verdict)" if held_out else " (decides the verdict)" if decides else so_far
    title = f"{'match' if held_out else match.title} on {match.event.get('task')}{role}"
    title += f"; gain in {conditions(board, match)['unit'] or 'units of the metric'}"
    return ShownMatch(title, decides, [_arm(board, match, arm, decides) for arm in board.arms_of(match)])


def _arm(board: StudyView, match: MatchView, arm: ArmView, decides: bool) -> Row:
    mean, so_far = arm.mean, " (so far)" * (match.state == "running")
    return {
        "match": f"{match.event.get('purpose')} on {match.event.get('task')}{so_far}",
        "decides": decides,
        "program": named(board.name(arm.program_id), arm.role),
        "gain": mean.mean,
        "low": mean.low,
        "high": mean.high,
        "runs": mean.n,
        "kept/tried": f"{sum(run.kept for run in arm.runs)}/{sum(run.tried for run in arm.runs)}",
    }
